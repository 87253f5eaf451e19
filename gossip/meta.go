package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/hashicorp/memberlist"

	"github.com/ringside-edge/ringside/ring"
)

// metaVersion is the first byte of a node's metadata. Fields are only ever added at the end, so that nodes of
// neighbouring versions understand each other.
//
//	| version | role | state | weight | boot | ID | addr | admin | zone |
//	  u8        u8     u8      u16      u64    each: length u8, bytes      big endian
const metaVersion = 1

const metaFixed = 1 + 1 + 1 + 2 + 8

// maxWeight keeps a node from making the others compute a ring of millions of tokens.
const maxWeight = 1024

var errMeta = errors.New("the metadata of a node is not understood")

// encodeMeta is what a node tells of itself. boot is when it was started, in ns.
func encodeMeta(m ring.Member, boot uint64) ([]byte, error) {
	b := []byte{metaVersion, byte(m.Role), byte(m.State)}
	b = binary.BigEndian.AppendUint16(b, uint16(min(max(m.Weight, 1), maxWeight)))
	b = binary.BigEndian.AppendUint64(b, boot)
	for _, s := range []string{m.ID, m.Addr, m.Admin, m.Zone} {
		if len(s) > math.MaxUint8 {
			return nil, fmt.Errorf("%.32q… is longer than %d bytes", s, math.MaxUint8)
		}
		b = append(append(b, byte(len(s))), s...)
	}
	if len(b) > memberlist.MetaMaxSize { // memberlist would panic
		return nil, fmt.Errorf("ID, addresses and zone have %d bytes together; the metadata of a node holds %d",
			len(b)-metaFixed, memberlist.MetaMaxSize-metaFixed)
	}
	return b, nil
}

// decodeMeta is the inverse of encodeMeta. What stands behind the known fields is ignored.
func decodeMeta(b []byte) (m ring.Member, boot uint64, err error) {
	if len(b) < metaFixed || b[0] < metaVersion {
		return m, 0, errMeta
	}
	m.Role, m.State = ring.Role(b[1]), ring.State(b[2])
	m.Weight = max(1, int(binary.BigEndian.Uint16(b[3:])))
	if m.Role.String() == "invalid" || !known(m.State) || m.Weight > maxWeight {
		return m, 0, errMeta
	}
	boot = binary.BigEndian.Uint64(b[5:])
	b = b[metaFixed:]
	for _, s := range []*string{&m.ID, &m.Addr, &m.Admin, &m.Zone} {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return m, 0, errMeta
		}
		*s, b = string(b[1:1+int(b[0])]), b[1+int(b[0]):]
		if !printable(*s) {
			return m, 0, errMeta
		}
	}
	if m.ID == "" {
		return m, 0, errMeta
	}
	return m, boot, nil
}
