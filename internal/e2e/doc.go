// Package e2e holds the tests of the whole: real processes of the built binary, a real redis-server, real
// sockets. It has no code of its own; internal/testcluster has what the tests are made of.
//
// They don't run with -short, and say so.
package e2e
