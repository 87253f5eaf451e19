package leg

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/tickets.json anew")

// vector is a sealed ticket and what it says: other implementations, and later versions of this one, must read it.
type vector struct {
	Secret string `json:"secret"`
	Text   string `json:"text"` // as it stands in the header
	Ticket Ticket `json:"ticket"`
}

const vectors = "testdata/tickets.json"

func TestTicketVectors(t *testing.T) {
	plain := Ticket{Session: 1 << 60, Format: 2, Resumed: true, Since: pos(1, 2, 3), Topic: "finals", Client: "2001:db8::1"}
	granted := plain
	granted.Grant = `{"i":"ann","t":["finals"],"e":1763900000,"p":1}`
	more := granted
	more.Format, more.Extra = 4, "3 ms"
	if *update {
		var list []vector
		for _, want := range []Ticket{plain, granted, more} {
			k, _ := NewKeyring("a secret of the vectors")
			list = append(list, vector{"a secret of the vectors", TicketText(k.Seal(want)), want})
		}
		b, err := json.MarshalIndent(list, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectors, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(vectors)
	if err != nil {
		t.Fatal(err)
	}
	var list []vector
	if err := json.Unmarshal(b, &list); err != nil || len(list) != 3 {
		t.Fatalf("%d vectors, %v", len(list), err)
	}
	for _, v := range list {
		k, _ := NewKeyring(v.Secret)
		sealed, err := ParseTicketText(v.Text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := k.Open(sealed); err != nil || got != v.Ticket {
			t.Errorf("got %+v, %v, want %+v", got, err, v.Ticket)
		}
	}
}

// A ticket without a grant is what gateways before this version gave and took.
func TestTicketVersions(t *testing.T) {
	k, _ := NewKeyring("a secret of the tests")
	f := func(want byte, grant string) {
		t.Helper()
		in := Ticket{Topic: "t", Grant: grant}
		sealed := k.Seal(in)
		b, err := k.tickets[0].Open(nil, nil, sealed, nil)
		if err != nil || b[0] != want {
			t.Errorf("version: got %d, %v, want %d", b[0], err, want)
		}
		if got, err := k.Open(sealed); err != nil || got != in {
			t.Errorf("got %+v, %v", got, err)
		}
		for i := range b {
			if _, err := parseTicket(b[:i]); err == nil && want == ticketGranted {
				t.Errorf("%d bytes of it are taken for a ticket", i)
			}
		}
	}
	f(ticketVersion, "")
	f(ticketGranted, "g")
	f(ticketGranted, strings.Repeat("g", MaxGrant))
	largest := Ticket{Topic: strings.Repeat("t", 255), Client: strings.Repeat("c", 255), Grant: strings.Repeat("g", MaxGrant)}
	if _, err := ParseTicketText(TicketText(k.Seal(largest))); err != nil {
		t.Errorf("the largest ticket: %v", err)
	}
}

// A router keeps the newest ticket, and passes over one that it could not keep.
func TestRenewRecord(t *testing.T) {
	var s Stripper
	var heard log
	in := append(rec(Renew, 0, 0, pos(0, 0, 0), "a ticket"), rec(Renew, 0, 0, pos(0, 0, 0), strings.Repeat("x", maxTicket+1))...)
	out, rest, err := s.Strip(append(in, rec(Renew, 0, 0, pos(0, 0, 0), "")...), &heard)
	if err != nil || len(out) > 0 || len(rest) > 0 {
		t.Errorf("got %q, %q, %v: want nothing for the client", out, rest, err)
	}
	if got := strings.Join(heard.lines, ", "); got != "renew a ticket, unknown 6, unknown 6" {
		t.Errorf("heard: %s", got)
	}
}
