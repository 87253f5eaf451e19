package testcluster

import "golang.org/x/sys/unix"

// reserveName takes a name that all processes of this machine see, until this one ends: an address of the abstract
// namespace of Unix sockets, which the kernel gives back whatever the process ends by (unix(7)). The socket has no
// other use, and is not closed.
func reserveName(name string) bool {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: "@" + name}); err != nil {
		unix.Close(fd)
		return false
	}
	return true
}
