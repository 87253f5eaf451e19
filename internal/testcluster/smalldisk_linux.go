package testcluster

import (
	"fmt"
	"syscall"
)

func mountMemory(dir string, size int) error {
	return syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, fmt.Sprintf("size=%d,mode=700", size))
}

// unmount does it at once for who comes later, and in truth when the last file is closed: a child of a killed server
// may still hold one.
func unmount(dir string) error { return syscall.Unmount(dir, syscall.MNT_DETACH) }
