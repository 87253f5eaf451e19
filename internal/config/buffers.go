package config

// Buffers is what a session may cost in the kernel.
type Buffers struct {
	// What has been sent and not acknowledged yet does not count, so that a distant client is as fast as before; what waits for a client
	// that does not read does.
	UnsentBytes Size `group:"Memory" default:"16KiB" min:"4KiB" max:"16MiB" help:"Bytes that may wait in a socket for a peer's window before it counts as full; on Linux only."`
	// The kernel reserves twice as much. Of clients, who send little, and of the router's legs, which have a short way.
	ReceiveBuffer Size `group:"Memory" default:"16KiB" min:"4KiB" max:"16MiB" help:"Receive buffer of a client's and of a leg's socket."`
}
