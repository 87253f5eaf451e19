// Package config holds the settings of every role of the program: one commented struct per role, with each
// setting's default and bounds beside its field, and the code that fills such a struct strictly.
//
// A setting has one name everywhere. The field DrainWindow is the flag --drain-window, the YAML key
// drain-window in the file that --config names, and the environment variable RINGSIDE_DRAIN_WINDOW. The flag
// wins over the environment, the environment over the file, the file over the default. Nothing unknown is
// passed over: an unknown key, an unknown RINGSIDE_* variable and a bad value are errors that name the key,
// where it stands, and what it accepts.
//
// The structs are kong grammars: embed one in a command of a kong application made with [Options]. The
// package starts nothing, opens no connection and knows none of the packages that it configures.
package config
