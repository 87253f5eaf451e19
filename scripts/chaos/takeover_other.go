//go:build !linux

package main

import (
	"context"
	"errors"
	"syscall"
)

func attr() *syscall.SysProcAttr { return nil }

func (r *run) succeed(context.Context, *instance) error { return errors.ErrUnsupported }
