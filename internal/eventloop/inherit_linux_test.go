package eventloop

import "golang.org/x/sys/unix"

// inherited are TCP's own options of TestListen's listener, and their values.
var inherited = [][2]int{{unix.TCP_KEEPIDLE, 7}, {unix.TCP_KEEPINTVL, 7}, {unix.TCP_KEEPCNT, keepAliveProbes}}

// rest are those that SetRest sets.
var rest = [][2]int{{unix.TCP_NOTSENT_LOWAT, 16 << 10}}
