package testcluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// SmallDisk is a file system of a few megabytes, to be filled.
type SmallDisk struct {
	Dir string
}

// NewSmallDisk mounts a file system of the given size in bytes for the length of a test. Where that is not permitted the
// test is skipped. What is started on it must be started after it, so that it ends before it.
func NewSmallDisk(t testing.TB, size int) *SmallDisk {
	t.Helper()
	dir := tempDir(t, "ringside-disk-")
	if err := mountMemory(dir, size); err != nil {
		t.Skipf("SKIPPED, nothing about full disks is tested: mounting a small tmpfs needs Linux and CAP_SYS_ADMIN: %v", err)
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Errorf("cannot unmount %s: %v", dir, err)
		}
	})
	return &SmallDisk{Dir: dir}
}

// Fill takes all space that is left.
func (d *SmallDisk) Fill(t testing.TB) {
	t.Helper()
	if err := d.fill(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling %s: got %v, want no space left", d.Dir, err)
	}
}

func (d *SmallDisk) fill() error {
	f, err := os.OpenFile(d.ballast(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for block := bytes.Repeat([]byte("x"), 4096); ; {
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
}

// Free gives back what [SmallDisk.Fill] took.
func (d *SmallDisk) Free(t testing.TB) {
	t.Helper()
	if err := os.Remove(d.ballast()); err != nil {
		t.Fatal(fmt.Errorf("cannot free the disk: %w", err))
	}
}

func (d *SmallDisk) ballast() string { return filepath.Join(d.Dir, "ballast") }
