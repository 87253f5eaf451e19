package conformance

import (
	"encoding/binary"
	"strings"
)

// FrameCase is what a client sends once its session stands, and what it gets: frames as [Frame] writes them. A session that is not
// closed lives on.
type FrameCase struct {
	Name  string
	Bytes []byte
	V1    []string // in ringside.v1
	Raw   []string // in ringside.raw
}

// frame is a client's frame: a first byte, then the payload with a mask that changes it.
func frame(first byte, payload string) string {
	return sized(first, len(payload), lengthBytes(len(payload)), payload)
}

func lengthBytes(n int) int {
	switch {
	case n <= 125:
		return 0
	case n <= 0xffff:
		return 2
	}
	return 8
}

// sized is a frame that says its length n in so many more bytes.
func sized(first byte, n, more int, payload string) string {
	b := []byte{first}
	switch more {
	case 0:
		b = append(b, 0x80|byte(n))
	case 2:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i&3])
	}
	return string(b)
}

func closing(code uint16, reason string) string {
	return frame(0x88, string(binary.BigEndian.AppendUint16(nil, code))+reason)
}

const ping = `{"type":"ping"}`

// padded is a command of n bytes.
func padded(n int) string { return ping + strings.Repeat(" ", n-len(ping)) }

// FrameGroup are the cases of some sections of RFC 6455.
type FrameGroup struct {
	RFC, Name string
	Cases     []FrameCase
}

// FrameGroups are the rules of RFC 6455 about what a client may send, and our own limits on it.
func FrameGroups() []FrameGroup {
	return []FrameGroup{
		{"5.2", "lengths, and the limit on messages", sizes()},
		{"5.1, 5.2, 5.8", "masks, reserved bits, opcodes", headers()},
		{"5.5", "control frames", controls()},
		{"5.4", "fragments", fragments()},
		{"5.6, 8.1", "text that is UTF-8, and text that is not", texts()},
		{"5.5.1, 7.4", "closing, and close codes", closes()},
	}
}

// FrameCases are those of all groups.
func FrameCases() []FrameCase {
	var all []FrameCase
	for _, group := range FrameGroups() {
		all = append(all, group.Cases...)
	}
	return all
}

// command is of one whole command: ringside.raw takes none.
func command(name, bytes string) FrameCase {
	return FrameCase{name, []byte(bytes), []string{`text {"type":"pong"}`}, []string{"close 1003"}}
}

// always is of what is the same in both subprotocols.
func always(name, bytes string, want ...string) FrameCase {
	return FrameCase{name, []byte(bytes), want, want}
}

func sizes() []FrameCase {
	return []FrameCase{
		command("length in 7 bits", frame(0x81, padded(125))),
		command("length in 16 bits, the least", frame(0x81, padded(126))),
		command("length in 16 bits, the most", frame(0x81, padded(65535))),
		command("length in 64 bits, the least, and the largest message", frame(0x81, padded(65536))),
		always("message above the limit", sized(0x81, 65537, 8, ""), "close 1009"),
		always("16 bits for what needs 7", sized(0x81, 125, 2, padded(125)), "close 1002"),
		always("64 bits for what needs 7", sized(0x81, 15, 8, ping), "close 1002"),
		always("64 bits for what needs 16", sized(0x81, 65535, 8, ""), "close 1002"),
		always("length above 63 bits", "\x81\xff\x80\x00\x00\x00\x00\x00\x00\x01", "close 1002"),
		always("huge length", "\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff", "close 1009"),
	}
}

func headers() []FrameCase {
	cases := []FrameCase{
		always("unmasked text", "\x81\x0f"+ping, "close 1002"),
		always("unmasked ping", "\x89\x00", "close 1002"),
		always("unmasked close", "\x88\x02\x03\xe8", "close 1002"),
		always("reserved bit 1", frame(0xc1, ping), "close 1002"),
		always("reserved bit 2", frame(0xa1, ping), "close 1002"),
		always("reserved bit 3", frame(0x91, ping), "close 1002"),
		always("reserved bit of a ping", frame(0xc9, ""), "close 1002"),
		{"binary", []byte(frame(0x82, "\xff")), []string{"close 1003"}, []string{"close 1003"}},
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		cases = append(cases, always("reserved opcode "+string("0123456789abcdef"[op]), frame(0x80|op, ""), "close 1002"))
	}
	return cases
}

func controls() []FrameCase {
	long := strings.Repeat("x", 125)
	return []FrameCase{
		always("empty ping", frame(0x89, ""), "pong "),
		always("ping", frame(0x89, "\x00\xff"), "pong \x00\xff"),
		always("longest ping", frame(0x89, long), "pong "+long),
		always("ping above 125", frame(0x89, long+"x"), "close 1002"),
		always("ping with its length in 16 bits", sized(0x89, 1, 2, "x"), "close 1002"),
		always("fragmented ping", frame(0x09, "x"), "close 1002"),
		always("fragmented close", frame(0x08, "\x03\xe8"), "close 1002"),
		always("close above 125", frame(0x88, "\x03\xe8"+long), "close 1002"),
		always("ten pings", strings.Repeat(frame(0x89, "x"), 10), "pong x", "pong x", "pong x", "pong x", "pong x", "pong x", "pong x", "pong x", "pong x", "pong x"),
		always("pong that nobody asked for", frame(0x8a, "x")),
		always("empty pong that nobody asked for", frame(0x8a, "")),
	}
}

func fragments() []FrameCase {
	first, last := ping[:5], ping[5:]
	return []FrameCase{
		command("two fragments", frame(0x01, first)+frame(0x80, last)),
		command("empty fragments", frame(0x01, "")+frame(0x00, "")+frame(0x00, ping)+frame(0x80, "")),
		{"ping between fragments", []byte(frame(0x01, first) + frame(0x89, "!") + frame(0x80, last)),
			[]string{"pong !", `text {"type":"pong"}`}, []string{"pong !", "close 1003"}},
		command("pong between fragments", frame(0x01, first)+frame(0x8a, "!")+frame(0x80, last)),
		always("close between fragments", frame(0x01, first)+closing(1000, "")+frame(0x80, last), "close 1000"),
		always("text within fragments", frame(0x01, first)+frame(0x81, last), "close 1002"),
		always("binary within fragments", frame(0x01, first)+frame(0x82, last), "close 1002"),
		always("fragments within fragments", frame(0x01, first)+frame(0x01, last), "close 1002"),
		always("continuation of nothing", frame(0x80, ping), "close 1002"),
		always("first continuation of nothing", frame(0x00, ping), "close 1002"),
		{"continuation of what is over", []byte(frame(0x01, first) + frame(0x80, last) + frame(0x80, "x")),
			[]string{`text {"type":"pong"}`, "close 1002"}, []string{"close 1003"}},
		always("fragments above the limit", frame(0x01, strings.Repeat(" ", 40000))+frame(0x80, strings.Repeat(" ", 40000)), "close 1009"),
		{"fragmented binary", []byte(frame(0x02, "\xff") + frame(0x80, "\xfe")), []string{"close 1003"}, []string{"close 1003"}},
	}
}

func texts() []FrameCase {
	const koeln, bad = `{"type":"ping","x":"K` + "\xc3\xb6ln \xf0\x9f\x8f\x9f" + `"}`, "close 1007"
	at := strings.IndexByte(koeln, '\xc3') + 1
	four := strings.IndexByte(koeln, '\xf0') + 2
	return []FrameCase{
		command("text beyond ASCII", frame(0x81, koeln)),
		command("two bytes split", frame(0x01, koeln[:at])+frame(0x80, koeln[at:])),
		command("four bytes split", frame(0x01, koeln[:four])+frame(0x00, koeln[four:four+1])+frame(0x80, koeln[four+1:])),
		always("invalid byte", frame(0x81, "\xff"), bad),
		always("invalid in a first fragment", frame(0x01, "a\xff"), bad),
		always("invalid in a later fragment", frame(0x01, "a")+frame(0x00, "\xc3")+frame(0x00, "a"), bad),
		always("surrogate", frame(0x81, "\xed\xa0\x80"), bad),
		always("pair of surrogates", frame(0x81, "\xed\xa0\xbd\xed\xb8\x80"), bad),
		always("overlong slash", frame(0x81, "\xc0\xaf"), bad),
		always("overlong NUL", frame(0x81, "\xe0\x80\x80"), bad),
		always("above the last character", frame(0x81, "\xf4\x90\x80\x80"), bad),
		always("five bytes", frame(0x81, "\xf8\x88\x80\x80\x80"), bad),
		always("continuation alone", frame(0x81, "\x80"), bad),
		always("incomplete at the end", frame(0x81, "K\xc3"), bad),
		always("incomplete at the end of fragments", frame(0x01, "K")+frame(0x80, "\xf0\x9f\x8f"), bad),
		command("ping with bytes that are no text", frame(0x8a, "\xff")+frame(0x81, ping)),
	}
}

func closes() []FrameCase {
	cases := []FrameCase{
		always("close without a code", frame(0x88, ""), "close 1005"),
		always("close with one byte", frame(0x88, "\x03"), "close 1002"),
		always("close with a reason", closing(1000, "bye"), "close 1000"),
		always("close with the longest reason", closing(1000, strings.Repeat("x", 123)), "close 1000"),
		always("close with a reason that is no text", closing(1000, "\xff"), "close 1007"),
		always("close with a reason that is incomplete", closing(1000, "K\xc3"), "close 1007"),
		always("command behind a close", closing(1000, "")+frame(0x81, ping), "close 1000"),
		always("ping behind a close", closing(1000, "")+frame(0x89, "x"), "close 1000"),
		always("broken frame behind a close", closing(1000, "")+"\xff\xff\xff", "close 1000"),
		always("close behind a close", closing(1000, "")+closing(1001, ""), "close 1000"),
		always("close behind a broken frame", frame(0x83, "")+closing(1000, ""), "close 1002"),
	}
	f := func(want string, codes ...uint16) {
		for _, c := range codes {
			w := want
			if w == "" {
				w = "close " + decimal(c)
			}
			cases = append(cases, always("close with "+decimal(c), closing(c, ""), w))
		}
	}
	f("", 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)
	f("close 1002", 0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
	return cases
}
