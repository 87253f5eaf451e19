package testcluster

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Snapshot is a copy of a server's data: a backup.
type Snapshot struct{ dir string }

// dataFiles are where a server keeps its data, relative to its directory.
var dataFiles = []string{"dump.rdb", "appendonlydir"}

// Snapshot copies the data aside: what the server wrote to its disk, or without AOF a snapshot that is taken now. Nobody
// may write meanwhile.
func (s *RedisServer) Snapshot(t testing.TB) Snapshot {
	t.Helper()
	if s.options.Fsync == "" {
		s.Do(t, "SAVE")
	}
	to := Snapshot{tempDir(t, "ringside-snapshot-")}
	if err := moveData(s.Dir, to.dir, false); err != nil {
		t.Fatal(err)
	}
	return to
}

// Restore kills the server, puts the data of a snapshot in the place of its own and starts it again: everything since
// the snapshot is lost, as after a disaster.
func (s *RedisServer) Restore(t testing.TB, from Snapshot) {
	t.Helper()
	s.Kill()
	if err := moveData(from.dir, s.Dir, true); err != nil {
		t.Fatal(err)
	}
	s.Revive(t)
}

// moveData copies the data files from one directory to another; with replace it first removes those that are there.
func moveData(from, to string, replace bool) error {
	for _, name := range dataFiles {
		source, target := filepath.Join(from, name), filepath.Join(to, name)
		if replace {
			if err := os.RemoveAll(target); err != nil {
				return err
			}
		}
		info, err := os.Stat(source)
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue
		case err != nil:
			return err
		case info.IsDir():
			err = os.CopyFS(target, os.DirFS(source))
		default:
			err = copyFile(source, target)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}
