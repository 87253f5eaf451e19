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

var errMeta = errors.New("the metadata of a node is not understood")

// encodeMeta is what a node tells of itself. boot is when it was started, in ns.
func encodeMeta(m ring.Member, boot uint64) ([]byte, error) {
	b := []byte{metaVersion, byte(m.Role), byte(m.State)}
	b = binary.BigEndian.AppendUint16(b, uint16(min(max(m.Weight, 1), math.MaxUint16)))
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
	if m.Role.String() == "invalid" || m.State.String() == "invalid" {
		return m, 0, errMeta
	}
	m.Weight = max(1, int(binary.BigEndian.Uint16(b[3:])))
	boot = binary.BigEndian.Uint64(b[5:])
	b = b[metaFixed:]
	for _, s := range []*string{&m.ID, &m.Addr, &m.Admin, &m.Zone} {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return m, 0, errMeta
		}
		*s, b = string(b[1:1+b[0]]), b[1+b[0]:]
	}
	if m.ID == "" {
		return m, 0, errMeta
	}
	return m, boot, nil
}

// load is how many sessions a node holds, as it travels: | 'L' | sequence u64 | load u64 | node name |.
type load struct {
	node string
	seq  uint64 // grows with every change, so that old news don't replace new ones
	load uint64
}

const (
	loadTag   = 'L'
	loadFixed = 1 + 8 + 8
	maxName   = 128
)

func (l load) append(b []byte) []byte {
	b = append(b, loadTag)
	b = binary.BigEndian.AppendUint64(b, l.seq)
	b = binary.BigEndian.AppendUint64(b, l.load)
	return append(b, l.node...)
}

func decodeLoad(b []byte) (load, bool) {
	if len(b) <= loadFixed || len(b) > loadFixed+maxName || b[0] != loadTag {
		return load{}, false
	}
	return load{seq: binary.BigEndian.Uint64(b[1:]), load: binary.BigEndian.Uint64(b[9:]), node: string(b[loadFixed:])}, true
}

// appendLoads puts loads behind each other, each with its length as u16: what nodes exchange in full now and then.
func appendLoads(b []byte, loads []load) []byte {
	for _, l := range loads {
		one := l.append(nil)
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(one))), one...)
	}
	return b
}

func decodeLoads(b []byte) (loads []load) {
	for len(b) >= 2 {
		n := int(binary.BigEndian.Uint16(b))
		if len(b) < 2+n {
			return loads
		}
		if l, ok := decodeLoad(b[2 : 2+n]); ok {
			loads = append(loads, l)
		}
		b = b[2+n:]
	}
	return loads
}
