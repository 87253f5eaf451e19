package leg

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The headers of the handshake between a router and a gateway. A router removes every header that begins with
// [HeaderPrefix] from what a client sends, and from what it passes back.
const (
	HeaderPrefix = "Ringside-"
	HeaderLeg    = "Ringside-Leg"    // request and answer: the version of the leg
	HeaderShard  = "Ringside-Shard"  // answer: the gateway's shard ID
	HeaderClient = "Ringside-Client" // request: the client's address
	HeaderAuth   = "Ringside-Auth"   // request: what [Keyring.Sign] returns
	HeaderStale  = "Ringside-Stale"  // request to resume: a gateway that lags behind will do, the others have refused
	HeaderPolicy = "Ringside-Policy" // answer, and request to resume: the version of the backoff policy that the client knows, in hexadecimal
	HeaderFinal  = "Ringside-Final"  // answer of 503: other gateways would say the same, the client gets it
	// HeaderFarewell asks the router, in the answer, for a [Farewell] when it takes the session elsewhere.
	HeaderFarewell = "Ringside-Farewell"
	HeaderFeeds    = "Ringside-Feeds"  // request, and request to resume: the router takes offers of feeds
	HeaderTicket   = "Ringside-Ticket" // answer: the session's ticket; request to resume: the same, once more

	Version = "v1" // of the leg
)

// What a router asks a gateway for beside the handshakes of clients: requests with methods of our own, which no client can
// have passed on, signed, with Upgrade: [Upgrade] for [Target]. The answer is 101.
const (
	MethodResume = "RESUME" // to go on with the session of the ticket; a [Resume] follows
	MethodBeat   = "BEAT"   // a connection on which every byte is answered by the same one, once all event loops have turned
	MethodCount  = "COUNT"  // between gateways too: how many sessions follow a topic, once or for as long as the connection stands

	Target  = "/"
	Upgrade = "ringside-leg"
)

// Request is what a router signs of a handshake.
type Request struct {
	Method string
	URI    string // request target as it is sent
	Host   string
	Client string // value of [HeaderClient]
}

// Why a handshake is not believed.
var (
	ErrMissing   = errors.New("leg: the signature is missing")
	ErrMalformed = errors.New("leg: the signature is malformed")
	ErrExpired   = errors.New("leg: the signature's time is too far from ours")
	ErrMAC       = errors.New("leg: the signature was made with another secret, or for another request")
)

// maxSkew is how far a signature's time may be from ours: long enough for clocks that are not in step, short enough
// that one which leaked is soon worthless.
const maxSkew = 60 * time.Second

// Keyring holds the secrets of a cluster. It signs with the first and accepts all, so that secrets can be rotated. It is
// immutable and safe for concurrent use.
type Keyring struct {
	keys    [][]byte
	tickets []cipher.AEAD
	passes  [][]byte
}

// NewKeyring makes a keyring of one secret or more. The keys that sign are derived from the secrets, so that the same
// secrets can serve other purposes.
func NewKeyring(secrets ...string) (*Keyring, error) {
	if len(secrets) == 0 {
		return nil, errors.New("leg: a keyring needs a secret")
	}
	k := &Keyring{}
	for _, s := range secrets {
		if s == "" {
			return nil, errors.New("leg: a secret is empty")
		}
		k.keys = append(k.keys, derive(s, "ringside leg "+Version))
		k.tickets = append(k.tickets, newSealer(derive(s, "ringside ticket")))
		k.passes = append(k.passes, derive(s, "ringside pass"))
	}
	return k, nil
}

// derive makes a key of 32 bytes for one purpose.
func derive(secret, purpose string) []byte {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(purpose))
	return m.Sum(nil)
}

// Sign returns the value of [HeaderAuth] for r: `t=<unix s>,n=<nonce>,mac=<hex>`.
func (k *Keyring) Sign(r Request, now time.Time) string {
	var nonce [8]byte
	_, _ = rand.Read(nonce[:]) // never fails
	t, n := strconv.FormatInt(now.Unix(), 10), hex.EncodeToString(nonce[:])
	return "t=" + t + ",n=" + n + ",mac=" + hex.EncodeToString(mac(k.keys[0], r, t, n))
}

// Verify returns nil when value is a signature of r by one of the secrets, made within a minute of now; else one of
// [ErrMissing], [ErrMalformed], [ErrExpired] and [ErrMAC].
func (k *Keyring) Verify(r Request, value string, now time.Time) error {
	if value == "" {
		return ErrMissing
	}
	parts := strings.Split(value, ",")
	if len(parts) != 3 {
		return ErrMalformed
	}
	t, okT := strings.CutPrefix(parts[0], "t=")
	n, okN := strings.CutPrefix(parts[1], "n=")
	m, okM := strings.CutPrefix(parts[2], "mac=")
	unix, err := strconv.ParseInt(t, 10, 64)
	got, errMAC := hex.DecodeString(m)
	if !okT || !okN || !okM || err != nil || errMAC != nil || len(n) != 16 {
		return ErrMalformed
	}
	if skew := now.Sub(time.Unix(unix, 0)); skew > maxSkew || skew < -maxSkew {
		return fmt.Errorf("%w: by %v", ErrExpired, skew.Round(time.Second))
	}
	for _, key := range k.keys {
		if hmac.Equal(got, mac(key, r, t, n)) {
			return nil
		}
	}
	return ErrMAC
}

// mac is over every part with its length, so that no two requests have the same bytes.
func mac(key []byte, r Request, t, nonce string) []byte {
	var room [512]byte
	b := room[:0]
	for _, part := range [...]string{Version, r.Method, r.URI, r.Host, r.Client, t, nonce} {
		b = append(append(append(strconv.AppendInt(b, int64(len(part)), 10), ':'), part...), ',')
	}
	m := hmac.New(sha256.New, key)
	m.Write(b)
	return m.Sum(nil)
}
