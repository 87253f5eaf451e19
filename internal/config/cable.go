package config

import (
	"errors"
	"fmt"
	"strings"
)

// maxStreamName leaves room for what is added to it.
const maxStreamName = 64

// CableRoute is what a router has to know of Action Cable.
type CableRoute struct {
	// With a topic in the URL its clients are served like any others.
	Cable bool `group:"Action Cable" help:"Take clients of Action Cable at /cable whose URL names no topic."`
}

// Cable is how clients of Action Cable are served; see docs/CABLE.md.
type Cable struct {
	// Off, its subprotocols are refused like any unknown one.
	Cable bool `group:"Action Cable" help:"Speak Action Cable: actioncable-v1-json and actioncable-v1-ext-json."`
	// What AnyCable calls its secret: it signs the names of streams, and tokens.
	CableSecretFile string `group:"Action Cable" placeholder:"FILE" example:"cable.secret" help:"Secret of the application that signs names of streams and tokens, 16 bytes or more."`
	// Where they are signed with another, Turbo's for example.
	CableStreamsSecretFile string `group:"Action Cable" placeholder:"FILE" example:"streams.secret" help:"Secret of the names of streams alone; cable-secret-file when none is given."`
	CableTokenSecretFile   string `group:"Action Cable" placeholder:"FILE" example:"tokens.secret" help:"Secret of tokens alone; cable-secret-file when none is given."`
	// A token that is brought has to be good in any case.
	CableAuth string `group:"Action Cable" default:"open" enum:"open,jwt,rpc" help:"What a client needs: open for nothing, jwt for a token, rpc for the application's consent where it brings no token."`
	// Only for topics that demand nothing.
	CablePublicStreams bool `group:"Action Cable" help:"Let clients follow streams by their bare names."`
	// One gateway reads at a time. A stream is a topic, whoever follows it.
	AnycableBroadcasts string `group:"Action Cable" placeholder:"STREAM" example:"__anycable__" help:"Redis stream of the broadcasts of an application that is set up for AnyCable (redisx), in this cluster's Redis."`
}

func (c *Cable) validate(rpc bool) error {
	switch {
	case len(c.AnycableBroadcasts) > maxStreamName || strings.ContainsAny(c.AnycableBroadcasts, " \t\r\n"):
		return fmt.Errorf("anycable-broadcasts: %.40q is no name of a stream: up to %d bytes without spaces", c.AnycableBroadcasts, maxStreamName)
	case !c.Cable:
		return nil
	case c.CableAuth == "jwt" && c.TokenSecret() == "":
		return errors.New("cable-auth: jwt needs cable-secret-file or cable-token-secret-file")
	case c.CableAuth == "rpc" && !rpc:
		return errors.New("cable-auth: rpc needs rpc-host")
	case !c.CablePublicStreams && c.StreamsSecret() == "" && !rpc:
		return errors.New("cable: there is nothing that a client could follow: set cable-secret-file for signed streams, rpc-host for channels, or cable-public-streams")
	}
	return nil
}

// StreamsSecret is the file with the secret of streams' names; empty for none.
func (c *Cable) StreamsSecret() string { return orFile(c.CableStreamsSecretFile, c.CableSecretFile) }

// TokenSecret is the file with the secret of tokens; empty for none.
func (c *Cable) TokenSecret() string { return orFile(c.CableTokenSecretFile, c.CableSecretFile) }

func orFile(file, otherwise string) string {
	if file == "" {
		return otherwise
	}
	return file
}
