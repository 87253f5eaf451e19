// Package auth decides who may have a session, on which topics and for how long.
//
// A [Guard] asks the methods that a topic demands, in their order: a JWT that the client brings, the application by gRPC
// (in AnyCable's wire format) or by webhook. What they have found out is a [Grant]: who the client is, which topics it may
// follow, when that ends, and what the application wants to be told later. A grant is small, immutable, and travels with
// the session in its sealed ticket, so that a session which goes on at another gateway is never authenticated again.
//
//	handshake ──► Guard.Connect ──► jwt ──► rpc, webhook ──► Grant, or a Refusal
//	                                │           │
//	                            keys, JWKS    caller: places, breaker, time-out
//
// The package knows neither sessions nor HTTP servers. What it asks of the network is bounded: calls under way, calls that
// wait, the time that each takes, the size of each answer.
package auth
