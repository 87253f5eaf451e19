package testcluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
)

// lowestPort keeps clear of the ports that services are found on.
const lowestPort = 10240

// FreeAddr finds a host:port on loopback that nobody listens on, by TCP or UDP, outside the range that the
// kernel takes ports of outgoing connections from: a port inside it can be gone by the time that a process
// binds it again. No port is found twice: on Linux by no process on this machine while this one lives, elsewhere
// by this process alone. Calls may be concurrent.
func FreeAddr() (string, error) {
	top := ephemeralStart()
	for range 200 {
		port := lowestPort + rand.IntN(top-lowestPort)
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if reserve(port) && free(addr) {
			return addr, nil
		}
	}
	return "", fmt.Errorf("cannot find a free port between %d and %d", lowestPort, top)
}

//nolint:gochecknoglobals // ports are the machine's
var reserved sync.Map // port -> struct{}

// reserve takes a port for the life of this process, and reports whether it was to be had: by name alone, whoever
// is to listen on it can.
func reserve(port int) bool {
	if _, taken := reserved.LoadOrStore(port, struct{}{}); taken {
		return false
	}
	return reserveName(fmt.Sprintf("ringside-test-port-%d", port))
}

func free(addr string) bool {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer ln.Close()
	pc, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	return pc.Close() == nil
}

// ephemeralStart is where the ports of outgoing connections begin: as Linux says, elsewhere as IANA does.
func ephemeralStart() int {
	const iana = 49152
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return iana
	}
	var low, high int
	if _, err := fmt.Sscan(string(b), &low, &high); err != nil || low < lowestPort+1000 {
		return iana
	}
	return low
}
