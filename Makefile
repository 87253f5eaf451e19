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
# Passed to the check of the pages.
PAGEFLAGS ?=
# Passed to the trial of the deployed topology.
TOPOLOGYFLAGS ?=
# Passed to the measurement beside other servers.
PEERFLAGS ?=
# Passed to the guard of the hot paths.
GUARDFLAGS ?=
# Passed to the measurement of latency.
LATENCYFLAGS ?=
# Passed to the measurement of how costs grow.
GROWTHFLAGS ?=
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

.PHONY: setup
setup: ## Install what the tests need and this machine lacks
	scripts/setup redis-server prometheus promtool ip curl node-app node-wsclient node-socketio node-iopeer sdk

.PHONY: test
test: setup ## Run all tests, and each fuzz target for a moment; installs redis-server and prometheus when they are missing
	$(GO) vet ./...
	scripts/fuzz 3000x
	$(GO) test -timeout 20m $(TESTFLAGS) ./...

.PHONY: race
race: ## Run all tests with the race detector
	scripts/setup gcc
	$(MAKE) --no-print-directory test TESTFLAGS='-race $(TESTFLAGS)'

.PHONY: e2e
e2e: ## Run the end-to-end tests only: real processes, a real redis-server
	scripts/setup redis-server ip node-app node-wsclient node-socketio
	$(GO) test -timeout 20m -count=1 $(TESTFLAGS) ./internal/e2e

.PHONY: docs
docs: ## Run the commands of all documents, as they stand (TESTFLAGS='-run TestCommands/docs/QUICKSTART.md -v')
	scripts/setup redis-server ip curl node-app node-wsclient node-socketio node-iopeer sdk
	$(GO) test -timeout 10m -count=1 $(TESTFLAGS) ./internal/docs

.PHONY: observe
observe: ## Test the alerts, the board and the list of metrics: promtool, and a real Prometheus that scrapes a real cluster
	scripts/setup redis-server prometheus promtool
	$(GO) test -timeout 10m -count=1 $(TESTFLAGS) ./internal/observe

.PHONY: page
page: build ## Drive the page of `ringside dev`, the dashboard, and plain EventSource and WebSocket with a real Chromium (PAGEFLAGS='-only plain')
	scripts/setup redis-server chromium
	$(GO) run ./scripts/page -binary $(BINARY) $(PAGEFLAGS)

.PHONY: screenshots
screenshots: build ## Take the pictures of docs/images: the page after a kill, and the dashboard
	scripts/setup chromium
	$(GO) run ./scripts/page -binary $(BINARY) -shots docs/images

.PHONY: sdk
sdk: build ## Check, build and test the SDK in client/, in Node and in a real Chromium
	scripts/setup redis-server chromium sdk
	cd client && npm run --silent check && SDK_TEST_BINARY=../$(BINARY) npm run --silent test:all

.PHONY: sdk-short
sdk-short: build ## The same in Node alone
	scripts/setup redis-server sdk
	cd client && npm run --silent check && SDK_TEST_BINARY=../$(BINARY) npm run --silent test

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
scale: ## Simulate crowds that come back at once, beside a real one of 8,000, measure gossip with up to 200 members, and write docs/SCALE.md (about 10 minutes)
	scripts/setup redis-server
	$(GO) run ./scripts/scale doc

.PHONY: slow
slow: ## Measure what clients that stop reading cost in the kernel, and what the bounds cost others, and write docs/SLOW.md
	scripts/setup redis-server
	$(GO) test -count=1 -run TestStalledClients -v ./internal/e2e -stalled 1000 -slow-doc

.PHONY: conformance
conformance: ## Hold routers and gateways against RFC 6455 with WebSocket clients of others and frames of our own, and write docs/CONFORMANCE.md
	scripts/setup redis-server node-wsclient
	$(GO) test -count=1 -timeout 10m -run TestForeignClients ./internal/e2e -conformance-doc

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

.PHONY: bench-guard
bench-guard: ## Compare what hot paths cost with the previous release, and what they allocate with scripts/guard/allocs.txt (GUARDFLAGS='-only gateway -json')
	$(GO) run ./scripts/guard $(GUARDFLAGS)

.PHONY: bench-guard-short
bench-guard-short: ## The same beside other work: allocations of all, and whether what only computes costs twice as much
	$(GO) run ./scripts/guard -short -limit 2 $(GUARDFLAGS)

.PHONY: bench-guard-update
bench-guard-update: ## Write scripts/guard/allocs.txt anew
	$(GO) run ./scripts/guard -update

.PHONY: bench-peers
bench-peers: build ## Measure beside centrifuge (alone, behind HAProxy and nginx), AnyCable and Socket.IO, pair by pair, and write that section of docs/BENCHMARKS.md (PEERFLAGS='-only centrifuge')
	scripts/setup redis-server haproxy nginx node-iopeer
	$(GO) run ./scripts/bench peers -binary $(BINARY) $(PEERFLAGS)

.PHONY: bench-handshakes
bench-handshakes: build ## Measure how connections begin, beside HAProxy and centrifuge, and write that section of docs/BENCHMARKS.md (about 8 minutes; HANDSHAKEFLAGS='-rounds 3')
	scripts/setup redis-server haproxy
	$(GO) run ./scripts/bench handshakes -binary $(BINARY) $(HANDSHAKEFLAGS)

.PHONY: bench-redis
bench-redis: build ## Measure what messages cost Redis, by gateways and by ways to publish, and what lingering saves, and write those sections of docs/BENCHMARKS.md (about 20 minutes; REDISFLAGS='-parts linger')
	scripts/setup redis-server
	$(GO) run ./scripts/bench redis -binary $(BINARY) $(REDISFLAGS)

.PHONY: latency
latency: build ## Measure the way of a message from publish to socket, and write docs/LATENCY.md (about 5 minutes; LATENCYFLAGS='-gateways 3 -window 5s')
	scripts/setup redis-server
	$(GO) run ./scripts/bench latency -binary $(BINARY) $(LATENCYFLAGS)

.PHONY: growth
growth: build ## Measure what deliveries and sessions cost against all that can grow, and write docs/GROWTH.md (about 25 minutes; GROWTHFLAGS='-only sessions')
	scripts/setup redis-server
	$(GO) run ./scripts/bench growth -binary $(BINARY) $(GROWTHFLAGS)

.PHONY: hot
hot: build ## Measure what one topic with nine tenths of the sessions does to the others, and write docs/HOT.md (about 4 minutes)
	scripts/setup redis-server
	$(GO) run ./scripts/bench hot -binary $(BINARY) $(HOTFLAGS)

.PHONY: deployment
deployment: ## Read the files of deployment as Compose, Kubernetes and systemd would
	cd deploy && $(GO) run -mod=mod ./check . # its go.mod follows that of the program
	scripts/units

.PHONY: topology
topology: ## Run what the files of deployment describe, each container in a network of its own, and break it; as root (TOPOLOGYFLAGS='-only compose')
	scripts/setup redis-server prometheus ip nft
	cd deploy && $(GO) run -mod=mod ./topology $(TOPOLOGYFLAGS) .

.PHONY: topology-short
topology-short: build ## The same in little more than a minute, without what takes long
	$(MAKE) --no-print-directory topology TOPOLOGYFLAGS='-short -program ../$(BINARY) $(TOPOLOGYFLAGS)'

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
cover: setup ## Run all tests and print what they cover
	$(GO) test -timeout 20m -coverpkg=./... -coverprofile=cover.out ./...
	$(GO) tool cover -func=cover.out | tail -n 1

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin dist cover.out client/dist
