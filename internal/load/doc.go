// Package load makes load: subscribers of any WebSocket server or event stream, a publisher, and what they saw.
//
// A [Fleet] is a crowd of subscribers in processes of its own ([RunWorker]), all of a process on one event loop, so that a subscriber costs a
// descriptor and a few hundred bytes. A [Press] publishes by a schedule. Both are told by a [Template] what the server speaks: which frames to send,
// how a subscription is confirmed, how a message is published. What arrives is recognised by a mark in its payload, whatever is around it,
// and so loss, repetition, order and latency are known without understanding the protocol.
//
// Latency is measured from the moment when a message was due, not from when it was sent: a publisher that is held up does not hide it
// (coordinated omission). Publisher and subscribers have to be on one machine, whose wall clock they share.
//
// Package bench, below, makes measurements of it. This package starts no servers and judges no result.
package load
