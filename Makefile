# Ringside. `make help` lists the targets.

.DEFAULT_GOAL := help
GO ?= go
BINARY := bin/ringside
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
BUF := github.com/bufbuild/buf/cmd/buf@v1.59.0

# Passed to `go test`: `make test TESTFLAGS='-run Drain -v'`.
TESTFLAGS ?=
# Passed to the chaos harness.
CHAOSFLAGS ?=
# Passed to the measurement of a storm.
STORMFLAGS ?=
# Passed to the measurement of latency.
LATENCYFLAGS ?=
# How long the model test goes on.
MODELTIME ?= 10m
# How long each fuzz target runs; a number with x counts executions.
FUZZTIME ?= 30s

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/ringside
	$(GO) build -o $(BINARY) ./cmd/ringside

.PHONY: run
run: build ## Run a whole cluster in one process, with a page to try it on (RUNFLAGS='--gateways 5')
	$(BINARY) dev $(RUNFLAGS)

.PHONY: test
test: ## Run all tests, and each fuzz target for a moment; installs redis-server and prometheus when they are missing
	scripts/setup redis-server prometheus promtool node-app
	$(GO) vet ./...
	scripts/fuzz 3000x
	$(GO) test -timeout 20m $(TESTFLAGS) ./...

.PHONY: race
race: ## Run all tests with the race detector
	scripts/setup gcc
	$(MAKE) --no-print-directory test TESTFLAGS='-race $(TESTFLAGS)'

.PHONY: e2e
e2e: ## Run the end-to-end tests only: real processes, a real redis-server
	scripts/setup redis-server node-app
	$(GO) test -timeout 20m -count=1 $(TESTFLAGS) ./internal/e2e

.PHONY: observe
observe: ## Test the alerts, the board and the list of metrics: promtool, and a real Prometheus that scrapes a real cluster
	scripts/setup redis-server prometheus promtool
	$(GO) test -timeout 10m -count=1 $(TESTFLAGS) ./internal/observe

.PHONY: page
page: build ## Drive the page of `ringside dev` with a real Chromium
	scripts/setup chromium
	$(GO) run ./scripts/page -binary $(BINARY)

.PHONY: chaos
chaos: ## Break a cluster in every way for half an hour, and write docs/RELIABILITY.md (CHAOSFLAGS='-seed 7 -faults kill,stop')
	scripts/setup redis-server ip
	$(GO) run ./scripts/chaos -seeds 10 -duration 3m -out docs/RELIABILITY.md $(CHAOSFLAGS)

.PHONY: chaos-short
chaos-short: ## The same for two minutes
	scripts/setup redis-server ip
	$(GO) run ./scripts/chaos -duration 2m $(CHAOSFLAGS)

.PHONY: chaos-check
chaos-check: ## Look whether the chaos harness finds what is broken on purpose (about 6 minutes)
	scripts/setup redis-server ip
	for fault in drop repeat position ack epoch; do \
	  $(GO) run ./scripts/chaos -break $$fault -duration 40s -rate 200 -sessions 500 -faults kill,term,drain,stop || exit 1; done
	$(GO) run ./scripts/chaos -break stale -duration 40s -faults flush

.PHONY: model
model: ## Hold gateways against a model of what is guaranteed for MODELTIME (10m), through random sequences of all that can happen
	scripts/setup redis-server gcc
	RINGSIDE_MODEL=$(MODELTIME) $(GO) test -race -count=1 -timeout 0 -run 'TestModel$$' -v ./gateway $(TESTFLAGS)

.PHONY: scale
scale: ## Simulate crowds that come back at once, beside a real one of 8,000, and measure gossip with up to 200 members (about 8 minutes)
	scripts/setup redis-server
	$(GO) run ./scripts/scale storm
	$(GO) run ./scripts/scale storm -clients 8000 -real
	$(GO) run ./scripts/scale gossip

.PHONY: slow
slow: ## Measure what clients that stop reading cost in the kernel, and what the bounds cost others, and write docs/SLOW.md
	scripts/setup redis-server
	$(GO) test -count=1 -run TestStalledClients -v ./internal/e2e -stalled 1000 -slow-doc

.PHONY: rehome
rehome: ## Measure what 8,500 clients feel of a kill, a hang, a drain and a takeover
	scripts/setup redis-server
	$(GO) run ./scripts/rehome

.PHONY: storm
storm: build ## Measure what sessions feel of 20,000 clients that come at once, and write docs/STORM.md (about 4 minutes)
	scripts/setup redis-server
	$(GO) run ./scripts/storm -binary $(BINARY) -out docs/STORM.md $(STORMFLAGS)

.PHONY: bench
bench: ## Measure beside HAProxy and nginx, and write docs/BENCHMARKS.md (about 15 minutes)
	scripts/setup redis-server haproxy nginx
	$(GO) run ./scripts/bench

.PHONY: latency
latency: build ## Measure the way of a message from publish to socket, and write docs/LATENCY.md (about 5 minutes; LATENCYFLAGS='-gateways 3 -window 5s')
	scripts/setup redis-server
	$(GO) run ./scripts/bench latency -binary $(BINARY) $(LATENCYFLAGS)

.PHONY: hot
hot: build ## Measure what one topic with nine tenths of the sessions does to the others, and write docs/HOT.md (about 2 minutes)
	scripts/setup redis-server
	$(GO) run ./scripts/bench hot -binary $(BINARY) $(HOTFLAGS)

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (30s)
	scripts/fuzz $(FUZZTIME)

.PHONY: fmt
fmt: ## Format the code
	$(GO) run $(GOLANGCI) fmt ./...

.PHONY: lint
lint: ## Run golangci-lint, pinned
	$(GO) run $(GOLANGCI) run ./...

.PHONY: proto
proto: ## Write the Go code of the gRPC service anew
	cd gateway/auth/apprpc && $(GO) run $(BUF) generate

.PHONY: darwin
darwin: ## Build and vet for macOS: the portable event loop
	GOOS=darwin $(GO) build ./...
	GOOS=darwin $(GO) vet ./...

.PHONY: cover
cover: ## Run all tests and print what they cover
	scripts/setup redis-server prometheus promtool node-app
	$(GO) test -timeout 20m -coverpkg=./... -coverprofile=cover.out ./...
	$(GO) tool cover -func=cover.out | tail -n 1

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin dist cover.out
