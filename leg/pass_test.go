package leg

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

func ring1(t testing.TB, secrets ...string) *Keyring {
	t.Helper()
	k, err := NewKeyring(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestPass(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	k := ring1(t, "secret one of us")
	reserved := k.Reserve(now, now.Add(10*time.Second))
	resume := k.Pass(Pass{Kind: PassResume, Until: now.Add(time.Hour), ID: 7})
	f := func(k *Keyring, text string, after time.Duration, want error) {
		t.Helper()
		if _, err := k.OpenPass(text, now.Add(after)); !errors.Is(err, want) {
			t.Errorf("%q after %v: got %v, want %v", text, after, err, want)
		}
	}
	f(k, reserved, 0, nil)
	f(k, reserved, -PassSkew, nil)
	f(k, reserved, -PassSkew-time.Second, ErrPassEarly)
	f(k, reserved, 10*time.Second+PassSkew, nil)
	f(k, reserved, 11*time.Second+PassSkew, ErrPassExpired)
	f(k, resume, time.Hour, nil)
	f(k, resume, 2*time.Hour, ErrPassExpired)
	f(ring1(t, "another cluster's"), reserved, 0, ErrPassMAC)
	f(ring1(t, "new secret", "secret one of us"), reserved, 0, nil) // rotated
	f(k, "", 0, ErrPassMalformed)
	f(k, "!", 0, ErrPassMalformed)
	f(k, reserved[:len(reserved)-1], 0, ErrPassMalformed)
	f(k, resume[:len(resume)-4], 0, ErrPassMalformed)
	f(k, reserved+"A", 0, ErrPassMalformed)
	f(k, strings.Repeat("A", len(reserved)), 0, ErrPassMalformed)          // kind 0
	f(k, "AQ"+resume[2:], 0, ErrPassMalformed)                             // a kind with the other's length
	f(k, reserved[:10]+"AAAA"+reserved[14:], 24*365*time.Hour, ErrPassMAC) // it is the MAC that counts first
	if p, err := k.OpenPass(resume, now); err != nil || p.ID != 7 || p.Kind != PassResume {
		t.Errorf("got %+v, %v", p, err)
	}
}

// A close frame's reason has 123 bytes at most.
func TestReservationFitsIntoACloseReason(t *testing.T) {
	now := time.Now()
	text := ring1(t, "secret").Reserve(now, now.Add(time.Hour))
	b, err := json.Marshal(map[string]any{"reconnect": int64(86_400_000), "pass": text})
	if err != nil || len(b) > 123 {
		t.Errorf("%d bytes: %s, %v", len(b), b, err)
	}
}

// passVector is a pass that every implementation makes and believes alike.
type passVector struct {
	Secret    string `json:"secret"`
	Kind      string `json:"kind"`
	FromMs    int64  `json:"from_ms,omitempty"`
	UntilMs   int64  `json:"until_ms"`
	ID        uint64 `json:"id,string"`
	Text      string `json:"text"`
	CheckedMs int64  `json:"checked_ms"`
	Error     string `json:"error,omitempty"`
}

func TestPassVectors(t *testing.T) {
	b, err := os.ReadFile("testdata/passes.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []passVector
	if err := json.Unmarshal(b, &list); err != nil || len(list) == 0 {
		t.Fatal("no vectors", err)
	}
	for _, v := range list {
		k := ring1(t, v.Secret)
		p := Pass{Kind: PassReservation, From: time.UnixMilli(v.FromMs), Until: time.UnixMilli(v.UntilMs), ID: v.ID}
		if v.Kind == "resume" {
			p.Kind, p.From = PassResume, time.Time{}
		}
		got, err := k.OpenPass(v.Text, time.UnixMilli(v.CheckedMs))
		switch {
		case v.Error != "":
			if err == nil || PassError(err) != v.Error {
				t.Errorf("%s: got %v, want %s", v.Text, err, v.Error)
			}
			continue
		case err != nil || got != p:
			t.Errorf("%s: got %+v, %v, want %+v", v.Text, got, err, p)
		}
		if text := k.Pass(p); text != v.Text {
			t.Errorf("got %s, want %s", text, v.Text)
		}
	}
}

func FuzzOpenPass(f *testing.F) {
	now := time.UnixMilli(1_800_000_000_000)
	k := ring1(f, "secret")
	good := map[string]bool{
		k.Reserve(now, now.Add(time.Second)):                             true,
		k.Pass(Pass{Kind: PassResume, Until: now.Add(time.Hour), ID: 1}): true,
	}
	for text := range good {
		f.Add(text)
	}
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := k.OpenPass(text, now); err == nil && k.Pass(p) != text {
			t.Errorf("%q is believed, and is not what we make: %+v", text, p)
		}
	})
}
