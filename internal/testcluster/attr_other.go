//go:build !linux

package testcluster

import "syscall"

func attr() *syscall.SysProcAttr { return nil }
