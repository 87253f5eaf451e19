package testcluster

import "syscall"

// attr makes the kernel kill the child when the test process dies, so that a panic or a `go test` time-out
// leaves nothing behind.
func attr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
