package leg

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// PassParam is the query parameter in which a client shows a pass: browsers can set no headers.
const PassParam = "pass"

// PassKind says what a pass is for.
type PassKind uint8

// The kinds of passes.
const (
	PassReservation PassKind = 1 // whoever shows it was turned away and told to come now
	PassResume      PassKind = 2 // whoever shows it has had a session
)

// Pass is what speaks for a client at its handshake, at any router of the cluster. It says nothing about who the client is.
//
//	reservation: | kind | from, Unix ms: 6 | until, 100 ms behind from: 2 | nonce: 8 | MAC: 16 |
//	resume:      | kind | until, Unix s: 6 |                              | session: 8 | MAC: 16 |
//
// As text it is base64url without padding: 44 and 42 characters, so that a reservation fits with a delay into the reason of
// a WebSocket close.
type Pass struct {
	Kind        PassKind
	From, Until time.Time // when it is good; From is zero of one to resume
	ID          uint64    // of a reservation: its nonce; of one to resume: the session
}

const (
	passMAC        = 16
	passResumeSize = 1 + 6 + 8
	passReserved   = 1 + 6 + 2 + 8
	passStep       = 100 * time.Millisecond

	// PassSkew is by how much the clock of whoever checks a pass may differ from that of whoever made it.
	PassSkew = 2 * time.Second
)

// Why a pass is not believed. Each is fit for a metric: see [PassError].
var (
	ErrPassMalformed = errors.New("leg: the pass is malformed")
	ErrPassMAC       = errors.New("leg: the pass was made with another secret, or changed")
	ErrPassEarly     = errors.New("leg: the pass is not good yet")
	ErrPassExpired   = errors.New("leg: the pass has expired")
)

//nolint:gochecknoglobals // a constant in all but name
var passText = base64.RawURLEncoding.Strict()

// Reserve returns a reservation with a nonce of its own, as text.
func (k *Keyring) Reserve(from, until time.Time) string {
	var nonce [8]byte
	_, _ = rand.Read(nonce[:]) // never fails
	return k.Pass(Pass{Kind: PassReservation, From: from, Until: until, ID: binary.BigEndian.Uint64(nonce[:])})
}

// Pass returns a pass as text, signed with the first secret.
func (k *Keyring) Pass(p Pass) string {
	b := make([]byte, 0, passReserved+passMAC)
	b = append(b, byte(p.Kind))
	switch p.Kind {
	case PassReservation:
		b = appendUint48(b, uint64(max(0, p.From.UnixMilli())))
		steps := min(max(0, p.Until.Sub(p.From)/passStep), 1<<16-1)
		b = binary.BigEndian.AppendUint16(b, uint16(steps))
	case PassResume:
		b = appendUint48(b, uint64(max(0, p.Until.Unix())))
	default:
		panic("BUG: leg: a pass of an unknown kind")
	}
	b = binary.BigEndian.AppendUint64(b, p.ID)
	return passText.EncodeToString(append(b, passSum(k.passes[0], b)...))
}

// OpenPass returns the pass that was made with any of the secrets and is good now; else one of [ErrPassMalformed],
// [ErrPassMAC], [ErrPassEarly] and [ErrPassExpired].
func (k *Keyring) OpenPass(text string, now time.Time) (Pass, error) {
	var buf [passReserved + passMAC]byte
	if len(text) > passText.EncodedLen(len(buf)) || strings.ContainsAny(text, "\r\n") { // which the decoder passes over, strict or not
		return Pass{}, ErrPassMalformed
	}
	n, err := passText.Decode(buf[:], []byte(text))
	if err != nil || n <= passMAC {
		return Pass{}, ErrPassMalformed
	}
	body, sum := buf[:n-passMAC], buf[n-passMAC:n]
	p, err := parsePass(body)
	if err != nil {
		return Pass{}, err
	}
	for _, key := range k.passes {
		if !hmac.Equal(sum, passSum(key, body)) {
			continue
		}
		switch {
		case now.Add(PassSkew).Before(p.From):
			return Pass{}, ErrPassEarly
		case now.Add(-PassSkew).After(p.Until):
			return Pass{}, fmt.Errorf("%w: %v ago", ErrPassExpired, now.Sub(p.Until).Round(time.Second))
		}
		return p, nil
	}
	return Pass{}, ErrPassMAC
}

func parsePass(b []byte) (Pass, error) {
	p := Pass{Kind: PassKind(b[0])}
	switch {
	case p.Kind == PassReservation && len(b) == passReserved:
		p.From = time.UnixMilli(int64(uint48(b[1:]))) //nolint:gosec // 48 bits
		p.Until = p.From.Add(time.Duration(binary.BigEndian.Uint16(b[7:])) * passStep)
	case p.Kind == PassResume && len(b) == passResumeSize:
		p.Until = time.Unix(int64(uint48(b[1:])), 0) //nolint:gosec // 48 bits
	default:
		return Pass{}, ErrPassMalformed
	}
	p.ID = binary.BigEndian.Uint64(b[len(b)-8:])
	return p, nil
}

// PassError is a word for why a pass is not believed, out of [PassErrors].
func PassError(err error) string {
	switch {
	case errors.Is(err, ErrPassMAC):
		return "mac"
	case errors.Is(err, ErrPassEarly):
		return "early"
	case errors.Is(err, ErrPassExpired):
		return "expired"
	}
	return "malformed"
}

// PassErrors are all that [PassError] can be.
//
//nolint:gochecknoglobals // a constant
var PassErrors = []string{"malformed", "mac", "early", "expired"}

func passSum(key, body []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(body)
	return m.Sum(nil)[:passMAC]
}

func appendUint48(b []byte, v uint64) []byte {
	return append(b, byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

func uint48(b []byte) (v uint64) {
	for _, c := range b[:6] {
		v = v<<8 | uint64(c)
	}
	return v
}
