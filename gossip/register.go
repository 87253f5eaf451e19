package gossip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Register is one of the cluster's settings: whoever wrote last wins, on every node alike. It is a value; nothing in it
// may be changed.
type Register struct {
	Name   string
	Value  []byte // nil when it is deleted
	Stamp  Stamp
	Writer string // ID of the node that wrote it
	Gone   bool   // deleted: the deletion is a write like any other
	wire   []byte // everything but the name, as it travels
}

// Stamp says when a register was written, by a hybrid logical clock: milliseconds since 1970, moved on where needed so
// that a write always follows what its writer knew, and 16 bits to count writes within one.
type Stamp uint64

// Time is the stamp as a time.
func (s Stamp) Time() time.Time { return time.UnixMilli(int64(s >> 16)) }

func stampOf(t time.Time) Stamp { return Stamp(t.UnixMilli()) << 16 }

// A register as it travels, big endian; what stands behind the value is of a later version and travels on:
//
//	| stamp u64 | writer: length u8, bytes | flags u8 | value: length u16, bytes | …
//
// Of two the greater one, byte by byte, is the later one, so that Redis can tell as well.
const (
	registerTag   = 'R'
	registerFixed = 8 + 1 + 1 + 2
	flagGone      = 1
	// maxRegister bounds name and bytes together: one register fits into one packet, with all that is put around it.
	maxRegister = 1100
	maxWriter   = 255
)

var errRegister = errors.New("a register is not understood")

func encodeRegister(r Register) Register {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, registerFixed+len(r.Writer)+len(r.Value)), uint64(r.Stamp))
	b = append(append(b, byte(len(r.Writer))), r.Writer...)
	var flags byte
	if r.Gone {
		flags, r.Value = flagGone, nil
	}
	b = binary.BigEndian.AppendUint16(append(b, flags), uint16(len(r.Value)))
	r.wire = append(b, r.Value...)
	return r
}

// decodeRegister keeps wire.
func decodeRegister(name string, wire []byte) (Register, error) {
	if name == "" || len(wire) < registerFixed || len(name)+len(wire) > maxRegister || !printable(name) {
		return Register{}, errRegister
	}
	r := Register{Name: name, Stamp: Stamp(binary.BigEndian.Uint64(wire)), wire: wire}
	b := wire[8:]
	if len(b) < 1+int(b[0])+3 {
		return Register{}, errRegister
	}
	r.Writer, b = string(b[1:1+int(b[0])]), b[1+int(b[0]):]
	r.Gone = b[0]&flagGone != 0
	n := int(binary.BigEndian.Uint16(b[1:]))
	if len(b) < 3+n || !printable(r.Writer) {
		return Register{}, errRegister
	}
	if !r.Gone {
		r.Value = b[3 : 3+n : 3+n]
	}
	return r, nil
}

// after reports whether r was written after o.
func (r Register) after(o Register) bool { return bytes.Compare(r.wire, o.wire) > 0 }

// message is r as it travels alone: | 'R' | name: length u16, bytes | what travels |.
func (r Register) message() []byte {
	b := binary.BigEndian.AppendUint16([]byte{registerTag}, uint16(len(r.Name)))
	return append(append(b, r.Name...), r.wire...)
}

// decodeRegisterMessage is the inverse of message. It keeps nothing of b.
func decodeRegisterMessage(b []byte) (Register, error) {
	if len(b) < 3 || b[0] != registerTag || len(b) < 3+int(binary.BigEndian.Uint16(b[1:])) {
		return Register{}, errRegister
	}
	n := 3 + int(binary.BigEndian.Uint16(b[1:]))
	return decodeRegister(string(b[3:n]), bytes.Clone(b[n:]))
}

func checkRegister(r Register) error {
	switch {
	case r.Name == "" || !printable(r.Name):
		return fmt.Errorf("%.40q is no name of a setting", r.Name)
	case len(r.Name)+len(r.wire) > maxRegister:
		return fmt.Errorf("setting %.40q has %d bytes, %d are possible", r.Name, len(r.Name)+len(r.wire), maxRegister)
	}
	return nil
}

// appendRegisters puts registers behind each other as appendLoads does with loads; older nodes pass over them.
func appendRegisters(b []byte, rs []Register) []byte {
	for _, r := range rs {
		one := r.message()
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(one))), one...)
	}
	return b
}

// decodeRegisters are the registers in a full exchange, and how many were not understood.
func decodeRegisters(b []byte) (rs []Register, bad int) {
	for len(b) >= 2 {
		n := int(binary.BigEndian.Uint16(b))
		if len(b) < 2+n {
			return rs, bad + 1
		}
		if one := b[2 : 2+n]; n > 0 && one[0] == registerTag {
			if r, err := decodeRegisterMessage(one); err == nil {
				rs = append(rs, r)
			} else {
				bad++
			}
		}
		b = b[2+n:]
	}
	return rs, bad
}
