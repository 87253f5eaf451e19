package config

import "testing"

func TestSize(t *testing.T) {
	f := func(s string, want Size, text string) {
		t.Helper()
		got, err := ParseSize(s)
		if err != nil || got != want || got.String() != text {
			t.Errorf("ParseSize(%q): got %v (%d), %v, want %s (%d)", s, got, int64(got), err, text, int64(want))
		}
	}
	f("0", 0, "0")
	f("512", 512, "512")
	f("512B", 512, "512")
	f("1KiB", 1024, "1KiB")
	f("1024", 1024, "1KiB")
	f("1536KiB", 1536<<10, "1536KiB")
	f("4 MiB", 4<<20, "4MiB")
	f("2GiB", 2<<30, "2GiB")
	for _, bad := range []string{"", "KiB", "-1", "+1", "1.5MiB", "1MB", "1kib", "0x10", "9999999999GiB", "1 000"} {
		if got, err := ParseSize(bad); err == nil {
			t.Errorf("ParseSize(%q): got %v, want an error", bad, got)
		}
	}
}

func TestAddr(t *testing.T) {
	f := func(a Addr, host string, loopback, wildcard bool) {
		t.Helper()
		var got Addr
		if err := got.UnmarshalText([]byte(a)); err != nil {
			t.Errorf("%s: %v", a, err)
		}
		if got.Host() != host || got.Loopback() != loopback || got.Wildcard() != wildcard {
			t.Errorf("%s: got %q, loopback %v, wildcard %v", a, got.Host(), got.Loopback(), got.Wildcard())
		}
	}
	f("127.0.0.1:0", "127.0.0.1", true, false)
	f("127.9.9.9:80", "127.9.9.9", true, false)
	f("localhost:80", "localhost", true, false)
	f("[::1]:80", "::1", true, false)
	f(":80", "", false, true)
	f("0.0.0.0:80", "0.0.0.0", false, true)
	f("[::]:80", "::", false, true)
	f("10.0.0.7:80", "10.0.0.7", false, false)
	f("edge-1.example:80", "edge-1.example", false, false)
	for _, bad := range []string{"", "x", "x:", "x:http", "x:-1", "x:65536", "::1:80", "a b:1", "http://x:80"} {
		if err := new(Addr).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q: want an error", bad)
		}
	}
}

func TestRedacted(t *testing.T) {
	f := func(u RedisURL, want string) {
		t.Helper()
		if got := u.Redacted(); got != want {
			t.Errorf("%s: got %s, want %s", u, got, want)
		}
	}
	f("redis://127.0.0.1:6379", "redis://127.0.0.1:6379")
	f("redis://u:hunter2@h:1/2", "redis://u:xxxxx@h:1/2")
	f("redis://u:hun?ter2@h:1/2", "redis://u:xxxxx@h:1/2")
	f("redis-sentinel://:hunter2@h:1,i:2/3?sentinel_password=hunter3#m", "redis-sentinel://:xxxxx@h:1,i:2/3?…")
	f("rediss-cluster://u@h:1,i:2", "rediss-cluster://u@h:1,i:2")
}

func TestSuggest(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		if got := suggest(name, []string{"listen", "admin", "max-header"}); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	f("lisen", ", did you mean listen?")
	f("max_header", ", did you mean max-header?")
	f("max-headers", ", did you mean max-header?")
	f("completely-else", "")
}
