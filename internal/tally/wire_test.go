package tally

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestFrames(t *testing.T) {
	var entries []Entry
	var totals []Total
	for i := range 5000 { // more than one frame holds
		name := fmt.Sprint(i, strings.Repeat("x", i%250))
		entries = append(entries, Entry{Topic: name, Count: int64(i), Wants: i%2 == 0, Anew: i%3 == 0})
		totals = append(totals, Total{name, int64(i) << 18})
	}
	for _, n := range []int{0, 1, 5000} {
		var gotEntries []Entry
		var versions []string
		r, buf := bufio.NewReader(bytes.NewReader(appendReport(nil, "0123", entries[:n]))), []byte(nil)
		for {
			b, err := readFrame(r, &buf, kindReport)
			if errors.Is(err, io.EOF) {
				break
			}
			version, list, err := parseReport(b)
			if err != nil {
				t.Fatal(err)
			}
			gotEntries, versions = append(gotEntries, list...), append(versions, version)
		}
		if len(gotEntries) != n || n > 0 && !reflect.DeepEqual(gotEntries, entries[:n]) {
			t.Errorf("entries: got %d, want the %d", len(gotEntries), n)
		}
		if got := strings.Join(versions, ""); got != "0123" || versions[len(versions)-1] != got {
			t.Errorf("versions: got %q, want one, in the last frame", versions)
		}
		var gotTotals []Total
		r = bufio.NewReader(bytes.NewReader(appendTotals(nil, totals[:n])))
		for {
			b, err := readFrame(r, &buf, kindTotals)
			if errors.Is(err, io.EOF) {
				break
			}
			list, err := parseTotals(b)
			if err != nil {
				t.Fatal(err)
			}
			gotTotals = append(gotTotals, list...)
		}
		if len(gotTotals) != n || n > 0 && !reflect.DeepEqual(gotTotals, totals[:n]) {
			t.Errorf("totals: got %d, want the %d", len(gotTotals), n)
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(appendReport(nil, "0123", []Entry{{Topic: "finals", Count: 7, Wants: true}}))
	f.Add(appendTotals(nil, []Total{{"finals", 7}}))
	f.Add([]byte{0, 1, 0, 1, 1})
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, kind := range []byte{kindReport, kindTotals} {
			var buf []byte
			r := bufio.NewReader(bytes.NewReader(in))
			for {
				b, err := readFrame(r, &buf, kind)
				if err != nil {
					if !errors.Is(err, ErrFrame) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
						t.Fatal(err)
					}
					break
				}
				if kind == kindReport {
					if version, list, err := parseReport(b); err == nil && len(list) > 0 {
						again := appendReport(nil, version, list)
						_, same, err := parseReport(again[5 : len(again)-6-len(version)])
						if len(again) < maxFrame && (err != nil || !reflect.DeepEqual(same, list)) {
							t.Fatalf("got %+v, %v, want %+v", same, err, list)
						}
					}
				} else if list, err := parseTotals(b); err == nil {
					if _, err := parseTotals(appendTotals(nil, list)[5:]); err != nil && len(b) < frameFull {
						t.Fatal(err)
					}
				}
			}
		}
	})
}
