package gateway

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestKeyOf(t *testing.T) {
	f := func(payload, want string, ok bool) {
		t.Helper()
		if got, found := keyOf([]byte(payload), "k"); got != want || found != ok {
			t.Errorf("%.100s: got %q %v, want %q %v", payload, got, found, want, ok)
		}
	}
	f(`{"k":"EUR"}`, `"EUR`, true)
	f(` { "a" : [1,{"k":"no"}] , "b":"}\"" , "k" : "EUR" , "z":1 } `, `"EUR`, true)
	f(`{"k":12}`, `12`, true)
	f(`{"k":-1.5e3,"x":true}`, `-1.5e3`, true)
	f(`{"k":"12"}`, `"12`, true)
	f(`{"k":"\u0045UR"}`, `"EUR`, true)
	f(`{"\u006b":"EUR"}`, `"EUR`, true)
	f(`{"k":"a\"b"}`, `"a"b`, true)
	f(`{"k":"one","k":"two"}`, `"one`, true)
	f(`{"a":{},"b":[],"c":null,"d":[[],{}],"k":1}`, `1`, true)
	f(`{"k":""}`, `"`, true)
	f(`{}`, "", false)
	f(`{"a":{"k":1}}`, "", false)
	f(`{"k":null}`, "", false)
	f(`{"k":true}`, "", false)
	f(`{"k":{"k":1}}`, "", false)
	f(`{"k":[1]}`, "", false)
	f(`["k","EUR"]`, "", false)
	f(`"k"`, "", false)
	f(`12`, "", false)
	f(``, "", false)
	f(`{"k":"EUR"`, "", false)
	f(`{"k":"EUR"} x`, "", false)
	f(`{"k":"`+strings.Repeat("x", maxKeyValue)+`"}`, "", false)
	f(strings.Repeat("[", 5000), "", false)
}

// Whatever is JSON has the key that the JSON package finds, where no field stands twice.
func FuzzKeyOf(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"k":"no"}],"k":"EUR"}`))
	f.Add([]byte("\xff{"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		key, ok := keyOf(payload, "k")
		var m map[string]json.RawMessage
		if json.Unmarshal(payload, &m) != nil || strings.Count(string(payload), `"k"`)+strings.Count(string(payload), `\`) > 1 {
			return
		}
		v := string(m["k"])
		want := v != "" && len(v) <= maxKeyValue && (v[0] == '"' || v[0] == '-' || '0' <= v[0] && v[0] <= '9')
		if ok != want || ok && v[0] != '"' && key != v {
			t.Errorf("%q: got %q %v, want %q %v", payload, key, ok, v, want)
		}
	})
}
