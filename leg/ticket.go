package leg

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ringside-edge/ringside/internal/position"
)

// Ticket is what a gateway needs to know of a session that another gateway has begun, beside where it stands. The router
// keeps it sealed and understands nothing of it.
type Ticket struct {
	Session uint64            // the session's ID
	Format  uint8             // what the client speaks; a number that means the same to all gateways
	Resumed bool              // the client came with a position
	Since   position.Position // which
	Topic   string            // of the connect URL, 255 bytes at most
	Client  string            // the client's address, 255 bytes at most
	Grant   string            // what authentication has found out, opaque here; empty for an open topic
	Extra   string            // what the format needs beyond that, opaque here, 255 bytes at most; empty as a rule
}

const (
	ticketVersion = 1 // without a grant, as every gateway understands it
	ticketGranted = 2 // with one: | length u16 | grant… | behind the rest
	ticketExtra   = 3 // with more: | length u8 | extra… | length u16 | grant… | behind the rest
	ticketHead    = 1 + 8 + 1 + 1 + 4 + 8 + 8
)

// ErrTicket means that a ticket was not sealed with one of our secrets, or by another version.
var ErrTicket = errors.New("leg: the ticket is not valid")

// Seal returns t encrypted and authenticated (AES-256-GCM with a random nonce) with the first secret, as bytes.
func (k *Keyring) Seal(t Ticket) []byte {
	b := make([]byte, 0, ticketHead+2+len(t.Topic)+len(t.Client)+1+len(t.Extra)+2+len(t.Grant))
	version := byte(ticketVersion)
	if t.Grant != "" {
		version = ticketGranted
	}
	if t.Extra != "" {
		version = ticketExtra
	}
	b = binary.BigEndian.AppendUint64(append(b, version), t.Session)
	var resumed byte
	if t.Resumed {
		resumed = 1
	}
	b = binary.BigEndian.AppendUint32(append(b, t.Format, resumed), t.Since.Epoch)
	b = binary.BigEndian.AppendUint64(b, t.Since.ID.Ms)
	b = binary.BigEndian.AppendUint64(b, t.Since.ID.Seq)
	b = append(append(b, byte(len(t.Topic))), t.Topic...)
	b = append(append(b, byte(len(t.Client))), t.Client...)
	if t.Extra != "" {
		b = append(append(b, byte(len(t.Extra))), t.Extra...)
	}
	if version != ticketVersion {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(t.Grant))), t.Grant...)
	}
	return k.tickets[0].Seal(nil, nil, b, nil) //nolint:gosec // it puts a random nonce in front
}

// Open returns the ticket that was sealed with any of the secrets; else [ErrTicket].
func (k *Keyring) Open(sealed []byte) (Ticket, error) {
	for _, c := range k.tickets {
		if b, err := c.Open(nil, nil, sealed, nil); err == nil {
			return parseTicket(b)
		}
	}
	return Ticket{}, ErrTicket
}

// Renewed is the same ticket sealed with the first secret; nil when it is sealed with that already, or with none that is known. So a
// ticket does not outlive its secret's rotation.
func (k *Keyring) Renewed(sealed []byte) []byte {
	if _, err := k.tickets[0].Open(nil, nil, sealed, nil); err == nil {
		return nil
	}
	for _, c := range k.tickets[1:] {
		if b, err := c.Open(nil, nil, sealed, nil); err == nil {
			return k.tickets[0].Seal(nil, nil, b, nil) //nolint:gosec // it puts a random nonce in front
		}
	}
	return nil
}

func parseTicket(b []byte) (Ticket, error) {
	if len(b) < ticketHead || b[0] < ticketVersion || b[0] > ticketExtra {
		return Ticket{}, fmt.Errorf("%w: another version", ErrTicket)
	}
	t := Ticket{
		Session: binary.BigEndian.Uint64(b[1:]), Format: b[9], Resumed: b[10] == 1,
		Since: position.Position{
			Epoch: binary.BigEndian.Uint32(b[11:]),
			ID:    position.ID{Ms: binary.BigEndian.Uint64(b[15:]), Seq: binary.BigEndian.Uint64(b[23:])},
		},
	}
	granted, strings := b[0] != ticketVersion, []*string{&t.Topic, &t.Client}
	if b[0] == ticketExtra {
		strings = append(strings, &t.Extra)
	}
	b = b[ticketHead:]
	for _, s := range strings {
		if len(b) < 1 || len(b) < 1+int(b[0]) {
			return Ticket{}, ErrTicket
		}
		*s = string(b[1 : 1+int(b[0])])
		b = b[1+len(*s):]
	}
	if granted {
		if len(b) < 2 || len(b) != 2+int(binary.BigEndian.Uint16(b)) {
			return Ticket{}, ErrTicket
		}
		t.Grant = string(b[2:])
	}
	return t, nil
}

// ticketText is how a sealed ticket stands in a header.
var ticketText = base64.RawURLEncoding //nolint:gochecknoglobals // a constant in all but name

// TicketText is a sealed ticket as the value of [HeaderTicket].
func TicketText(sealed []byte) string { return ticketText.EncodeToString(sealed) }

// ParseTicketText is the reverse of [TicketText]; it does not open the ticket.
func ParseTicketText(s string) ([]byte, error) {
	b, err := ticketText.DecodeString(s)
	if err != nil || len(b) == 0 || len(b) > maxTicket {
		return nil, ErrTicket
	}
	return b, nil
}

// maxTicket bounds what a router keeps for each session, in bytes.
const maxTicket = 4 << 10

// MaxGrant bounds [Ticket.Grant], so that the ticket can be kept.
const MaxGrant = 3 << 10

// Farewell is what a router that takes a session to another gateway sends as the last bytes of the old leg, where the gateway has
// asked for it by [HeaderFarewell]. Only who has the ticket knows it, and clients never see one.
func Farewell(sealed []byte) [FarewellSize]byte {
	sum := sha256.Sum256(append([]byte("ringside farewell"), sealed...))
	return [FarewellSize]byte(sum[:FarewellSize])
}

// FarewellSize is how many bytes a [Farewell] has.
const FarewellSize = 16

// newSealer makes the cipher for tickets.
func newSealer(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("BUG: leg: a key of another length: " + err.Error())
	}
	c, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("BUG: leg: no AES-GCM: " + err.Error())
	}
	return c
}
