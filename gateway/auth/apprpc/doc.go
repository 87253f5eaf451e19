// Package apprpc is the gRPC service that an application offers to Ringside, as generated from rpc.proto: its wire format
// is that of AnyCable's. `make proto` writes it anew. It decides nothing.
package apprpc
