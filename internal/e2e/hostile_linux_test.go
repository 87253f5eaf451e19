package e2e

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// vanish makes the peer at this end of conn vanish as one does whose network is cut: nothing that comes is seen any more, so that nothing
// is acknowledged, and nothing is said of it.
func vanish(t *testing.T, conn net.Conn) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn() //nolint:forcetypeassert // dialled as TCP
	if err != nil {
		t.Fatal(err)
	}
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing[0]})
	})
	if err != nil || failed != nil {
		t.Fatalf("cannot filter: %v, %v", err, failed)
	}
}

// TestVanishedPeers has clients vanish without a word, in the midst of their session and in the midst of their handshake: those that are
// sent something are closed once they have acknowledged nothing for ack-timeout, and counted; the others when their time is over.
func TestVanishedPeers(t *testing.T) {
	const each = 20
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1, "--ack-timeout=1s") // the handshakes of others have their usual time
	b := newBystanders(t, c, redis)
	for _, n := range c.Nodes() {
		prefix := "ringside_" + n.Role
		for range each {
			conn, _ := upgrade(t, n.Addr, "/t/calm")
			vanish(t, conn)
		}
		for _, conn := range flood(t, n.Addr, each, true, halfHead) {
			vanish(t, conn)
		}
		atLeast(t, n, each, prefix+"_closed_total", `reason="gone"`) // on a busy machine a second may be too short for another leg
		value(t, n, each, prefix+"_refused_total", `reason="slow_request"`)
		none(t, n, prefix+"_http_connections")
		b.goOn()
	}
	b.verify()
}
