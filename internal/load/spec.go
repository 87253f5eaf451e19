package load

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/internal/backoff"
)

// Back is how a subscriber comes back that was turned away or lost its connection.
type Back string

// The ways to come back.
const (
	Never    Back = ""         // it stays away
	Naive    Back = "naive"    // after the same time again and again, whatever it was told
	Obedient Back = "obedient" // when it was told, with the pass that it was given, or else by the backoff policy of the server
)

// Spec is how a crowd of subscribers connects and behaves.
type Spec struct {
	Template Template      `json:"template"`
	Targets  []string      `json:"targets"`            // host:port, which subscribers take in turn
	Topics   []string      `json:"topics"`             // which they take in turn
	Hot      float64       `json:"hot,omitempty"`      // share of them that follow the first one; the others take the others
	Rate     float64       `json:"rate,omitempty"`     // connections per second of all processes together; 0 for as fast as Dialers allow
	Dialers  int           `json:"dialers,omitempty"`  // connections that are being opened at once in a process; 0 for any number
	Spread   time.Duration `json:"spread,omitempty"`   // they begin at random within this time
	Patience time.Duration `json:"patience,omitempty"` // of an attempt; 10 s when 0
	Back     Back          `json:"back,omitempty"`
	Retry    time.Duration `json:"retry,omitempty"`  // of a naive subscriber
	Resume   bool          `json:"resume,omitempty"` // it goes on where it was
	Leave    bool          `json:"leave,omitempty"`  // it goes as soon as it is open, and makes room for the next; it counts as settled
	Live     bool          `json:"live,omitempty"`   // messages are being published already: what came before its first one is not missing
	Source   Source        `json:"source,omitzero"`
}

// Source is where subscribers come from; the zero Source leaves it to the system.
type Source struct {
	Prefix     netip.Prefix `json:"prefix"`      // addresses of this machine
	PerAddress int          `json:"per_address"` // subscribers that share one
	Shared     int          `json:"shared"`      // the first so many
	Behind     int          `json:"behind"`      // share one of other addresses so many together
}

// Loopback is a source of as many addresses as are wanted, on Linux, for a server on this machine.
func Loopback(perAddress int) Source {
	return Source{Prefix: netip.MustParsePrefix("127.0.0.0/8"), PerAddress: perAddress}
}

// sharedFrom is where the addresses begin that are shared, in a prefix with room for them.
const sharedFrom, ownFrom = 1 << 20, 1 << 16

// address is that of subscriber number i.
func (s Source) address(i int) netip.Addr {
	if !s.Prefix.IsValid() {
		return netip.Addr{}
	}
	at := i / max(1, s.PerAddress)
	room := s.Prefix.Addr().BitLen() - s.Prefix.Bits()
	switch {
	case room >= 22 && i < s.Shared:
		at = sharedFrom + i/max(1, s.Behind)
	case room >= 22:
		at += ownFrom
	case room > 1:
		at = 1 + at%(1<<room-2) // neither the network nor the broadcast
	default:
		at %= 1 << room
	}
	b := s.Prefix.Masked().Addr().AsSlice()
	for j := len(b) - 1; j >= 0 && at > 0; j-- {
		at += int(b[j])
		b[j] = byte(at)
		at >>= 8
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// topicOf is the index of the topic that subscriber number i follows.
func topicOf(i, topics int, hot float64) int {
	if hot == 0 || topics == 1 {
		return i % topics
	}
	// As even as a line of Bresenham's: of any stretch of subscribers the share is the same.
	before, after := int(float64(i)*hot), int(float64(i+1)*hot)
	if after > before {
		return 0
	}
	return 1 + (i-after)%(topics-1)
}

// PerTopic is how many of so many subscribers follow each topic.
func (s *Spec) PerTopic(sessions int) []int {
	n := make([]int, len(s.Topics))
	for i := range sessions {
		n[topicOf(i, len(s.Topics), s.Hot)]++
	}
	return n
}

const defaultPatience = 10 * time.Second

// crowd is a Spec that is ready for use.
type crowd struct {
	Spec
	addrs    []netip.AddrPort
	path     text
	resume   text
	pass     text
	head     text // of the handshake, behind the first line and Host
	frames   []reply
	atOpen   int            // so many of frames are sent as soon as the connection stands
	patience int64          // ms
	places   chan struct{}  // nil for as many as come
	policy   backoff.Policy // the newest that the server has told; owned by the loop
	told     string         // as it was told
}

// reply is a frame that is sent when a message comes.
type reply struct {
	on   Match
	send text
}

// prepare checks the spec, and finds the addresses of its targets.
func (s Spec) prepare() (*crowd, error) {
	if err := s.Template.Validate(); err != nil {
		return nil, err
	}
	if len(s.Targets) == 0 || len(s.Topics) == 0 {
		return nil, fmt.Errorf("want a target and a topic: got %d and %d", len(s.Targets), len(s.Topics))
	}
	c := &crowd{Spec: s, path: mustCompile(s.Template.Path), resume: mustCompile(s.Template.Resume), pass: mustCompile(s.Template.Pass),
		patience: s.Patience.Milliseconds(), policy: backoff.Default()}
	if c.patience == 0 {
		c.patience = defaultPatience.Milliseconds()
	}
	for _, t := range s.Targets {
		a, err := net.ResolveTCPAddr("tcp", t)
		if err != nil {
			return nil, err
		}
		ap := a.AddrPort()
		c.addrs = append(c.addrs, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
	}
	var head strings.Builder
	if s.Template.Transport == Events {
		head.WriteString("Accept: text/event-stream\r\n")
	} else {
		head.WriteString("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
		if s.Template.Subprotocol != "" {
			head.WriteString("Sec-WebSocket-Protocol: " + s.Template.Subprotocol + "\r\n")
		}
	}
	for _, k := range slices.Sorted(maps.Keys(s.Template.Headers)) {
		head.WriteString(k + ": " + s.Template.Headers[k] + "\r\n")
	}
	c.head = mustCompile(head.String() + "\r\n")
	for _, first := range []bool{true, false} {
		for _, f := range s.Template.Frames {
			if f.On.empty() == first {
				c.frames = append(c.frames, reply{f.On, mustCompile(f.Send)})
			}
		}
		if first {
			c.atOpen = len(c.frames)
		}
	}
	return c, nil
}

// target is the URL that subscriber number i connects to, without scheme and host.
func (c *crowd) target(v *values) []byte {
	b := c.path.append(nil, v)
	add := func(t text) {
		sep := byte('?')
		if strings.IndexByte(string(b), '?') >= 0 {
			sep = '&'
		}
		b = t.append(append(b, sep), v)
	}
	if v.position != "" && c.Template.Resume != "" {
		add(c.resume)
	}
	if v.pass != "" && c.Template.Pass != "" {
		add(c.pass)
	}
	return b
}
