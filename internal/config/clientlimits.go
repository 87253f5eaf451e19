package config

import "fmt"

// ClientLimits is what the clients of a gateway may send, and follow.
type ClientLimits struct {
	// Frames of any kind: messages, fragments of them, pings, pongs. Each 4 KiB of a frame count as one more. Above it the session is closed with 1008.
	ClientRate int `group:"Limits" default:"50" min:"1" max:"100000" help:"Frames that a client may send per second."`
	// A client that comes back subscribes to all of its topics at once.
	ClientBurst int `group:"Limits" default:"200" min:"2" max:"1000000" help:"Frames that it may send at once."`
	// About 1 KiB each, beside their logs. A session for one more is answered with 503, a subscribe message with an error; topics that have a session here, and sessions that come
	// from other gateways, are always taken.
	MaxNodeTopics int `group:"Limits" default:"131072" min:"1" max:"100000000" help:"Topics of all sessions together."`
}

// frameBytes is how many bytes of a frame count as a frame.
const frameBytes = 4 << 10

func (l *ClientLimits) validate(maxTopics int, maxFrame Size) error {
	switch {
	case l.ClientBurst <= maxTopics:
		return fmt.Errorf("client-burst (%d) must be above max-topics (%d): a client that comes back subscribes to all of its topics at once", l.ClientBurst, maxTopics)
	case int64(l.ClientBurst) < 2+int64(maxFrame)/frameBytes:
		return fmt.Errorf("client-burst (%d) must be %d or more for one message of max-frame (%v)", l.ClientBurst, 2+int64(maxFrame)/frameBytes, maxFrame)
	}
	return nil
}
