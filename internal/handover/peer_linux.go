package handover

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// shutdownKeepsQueue says that a UNIX socket that was shut for reading gives what it had received, and takes nothing
// more: unix_shutdown and unix_stream_sendmsg lock the receiver.
const shutdownKeepsQueue = true

// checkPeer returns ErrPeer when the other process runs as another user: the one that connected, or listened.
func checkPeer(sock *net.UnixConn) error {
	raw, err := sock.SyscallConn()
	if err != nil {
		return err
	}
	var cred *syscall.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(err, credErr); err != nil {
		return fmt.Errorf("cannot tell who the other process is: %w", err)
	}
	if own := os.Geteuid(); int64(cred.Uid) != int64(own) {
		return fmt.Errorf("%w: %d, ours is %d", ErrPeer, cred.Uid, own)
	}
	return nil
}
