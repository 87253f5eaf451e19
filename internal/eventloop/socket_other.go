//go:build !linux

package eventloop

// setKeepAlive keeps the system's intervals: SO_KEEPALIVE alone is portable.
func setKeepAlive(int, int) error { return nil }

// setUserTimeout is Linux only; elsewhere the write time-outs of sessions have to do.
func setUserTimeout(int, int) error { return nil }
