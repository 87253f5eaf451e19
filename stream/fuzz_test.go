package stream

import (
	"bytes"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/topic"
)

// FuzzURL holds that a Redis URL is understood or refused without a word of its password, and that whatever is understood names
// servers.
func FuzzURL(f *testing.F) {
	for _, u := range []string{
		"redis://user:secret@127.0.0.1:6379/1", "rediss://redis.example", "unix:///run/redis.sock?db=2", "redis://",
		"redis-sentinel://:secret@a:26379,[::1]:26379/0#main", "redis-cluster://a,b:7000", "redis-sentinel://a,b", "redis-cluster://a/1#x",
		"redis-sentinel://secret@a,@b#main", "redis-cluster://%zz:secret@a", "redis://a:secret",
	} {
		f.Add(u)
	}
	f.Fuzz(func(t *testing.T, u string) {
		opt, top, err := options(&Config{URL: u})
		if err != nil {
			if strings.Contains(u, "secret") && strings.Contains(err.Error(), "secret") {
				t.Fatalf("%q: the error repeats the password: %v", u, err)
			}
			return
		}
		if len(opt.InitAddress) == 0 || top == single && len(opt.InitAddress) != 1 || (top == sentinel) != (opt.Sentinel.MasterSet != "") {
			t.Fatalf("%q: got %+v", u, opt)
		}
		for _, a := range opt.InitAddress {
			if top != single && strings.HasPrefix(a, ":") {
				t.Fatalf("%q: a server without a host: %q", u, a)
			}
		}
		if opt.SelectDB < 0 {
			t.Fatalf("%q: database %d", u, opt.SelectDB)
		}
	})
}

// FuzzEntry adds entries of any fields to a stream and holds that what is read is a message of the slot's with its very payload, or
// nothing for anybody: an entry never stops the reading and never becomes another topic's.
func FuzzEntry(f *testing.F) {
	f.Add("topic", []byte("finals"), "payload", []byte("1"))
	f.Add("payload", []byte("\xff\x00"), "topic", []byte("finals"))
	f.Add("topic", []byte("a\nb"), "payload", []byte("1"))
	f.Add("epoch", []byte("17 1-1"), "topic", []byte("finals"))
	f.Add("beacon", []byte(""), "payload", []byte("x"))
	f.Add("topic", []byte("finals"), "topic", []byte("semi"))
	redis := miniredis.RunT(f)
	c := start(f, Config{URL: "redis://" + redis.Addr(), MaxPayload: 1 << 10})
	ready(f, c)
	var id position.ID
	f.Fuzz(func(t *testing.T, name1 string, value1 []byte, name2 string, value2 []byte) {
		slot := topic.Slot("finals")
		before := id
		id.Ms++
		// A third field makes a beacon or a mark of a publisher's, which is none.
		values := []string{name1, string(value1), name2, string(value2), "more", "x"}
		if _, err := redis.XAdd(Key(slot), id.String(), values); err != nil {
			t.Fatal(err)
		}
		p, err := c.Range(t.Context(), slot, before, 1)
		if err != nil || p.Last != id || len(p.Entries) != 1 {
			t.Fatalf("got %+v, %v", p, err)
		}
		e := p.Entries[0]
		switch {
		case e.Topic == "":
			if e.Payload != nil {
				t.Fatalf("an entry for nobody has the payload %q", e.Payload)
			}
		case topic.Validate(e.Topic) != nil, topic.Slot(e.Topic) != slot, len(e.Payload) > 1<<10:
			t.Fatalf("got %+v", e)
		case !(name1 == "topic" && e.Topic == string(value1)) && !(name2 == "topic" && e.Topic == string(value2)),
			!(name1 == "payload" && bytes.Equal(e.Payload, value1)) && !(name2 == "payload" && bytes.Equal(e.Payload, value2)):
			t.Fatalf("%q became %+v", values, e)
		}
	})
}

// FuzzEpoch holds that the value of an epoch's key is read in one way, or refused.
func FuzzEpoch(f *testing.F) {
	for _, s := range []string{"17 1763900000000-0", "17", "0", "4294967296", "17 ", "17 1-1 x", "-1", "+1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, _, err := parseEpoch(text)
		if err == nil && n == 0 {
			t.Fatalf("%q is epoch 0", text)
		}
	})
}
