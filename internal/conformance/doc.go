// Package conformance has the tables by which routers and gateways are tested alike: requests that no honest client sends, and
// what RFC 6455 says about every frame that a client may send. It is for tests, and knows nothing of the servers.
//
// A row says what is sent and what has to come of it, so that a server that is put in front of another, or stands alone, is held
// to the same words.
package conformance
