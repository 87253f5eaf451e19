package router

import (
	"slices"
	"strings"

	"github.com/ringside-edge/ringside/ring"
)

// cablePath is where clients of Action Cable connect whose URL names no topic.
const cablePath = "/cable"

// isCable reports whether the request is of such a client. What it follows it says later, and any gateway can serve it.
func (hs *handshake) isCable() bool {
	path, _, _ := strings.Cut(hs.uri, "?")
	return path == cablePath && slices.ContainsFunc(hs.protocols, func(p string) bool {
		return p == "actioncable-v1-json" || p == "actioncable-v1-ext-json"
	})
}

// cableKey stands for the topic that such a client does not name: one that comes back comes to the same gateway, as long as that has
// room.
func cableKey(client string) uint32 { return ring.Key("client " + client) }
