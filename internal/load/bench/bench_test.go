package bench

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/load"
)

func TestCheck(t *testing.T) {
	good := Config{Mode: Steady, Subscribers: 1, Publish: "x", Rate: 1, Duration: 1, OpenLimit: 1, Step: 1, Factor: 2, Limit: 1, Window: 1, Ways: []load.Back{load.Naive}}
	f := func(want string, change func(*Config)) {
		t.Helper()
		c := good
		change(&c)
		err := c.Check()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: got %v, want %q", c, err, want)
		}
	}
	for _, m := range []Mode{Steady, Ramp, Storm, Handshakes} {
		f("", func(c *Config) { c.Mode = m })
	}
	f("", func(c *Config) { c.Mode, c.Publish, c.Rate = Handshakes, "", 0 })
	f("a subscriber", func(c *Config) { c.Subscribers = 0 })
	f("too many", func(c *Config) { c.Subscribers, c.Processes = 15001, 1 })
	f("where to publish", func(c *Config) { c.Publish = "" })
	f("rate", func(c *Config) { c.Rate = 0 })
	f("rate", func(c *Config) { c.Rate = 1e9 })
	f("duration", func(c *Config) { c.Duration = 0 })
	f("duration", func(c *Config) { c.Mode, c.Step = Ramp, 0 })
	f("duration", func(c *Config) { c.Mode, c.Window = Storm, 0 })
	f("factor", func(c *Config) { c.Mode, c.Factor = Ramp, 1 })
	f("factor", func(c *Config) { c.Mode, c.Factor = Ramp, math.NaN() })
	f("come back", func(c *Config) { c.Mode, c.Ways = Storm, nil })
	f("opened", func(c *Config) { c.OpenLimit = 0 })
	f("hot", func(c *Config) { c.Spec.Hot = 1.1 })
}

func TestFailures(t *testing.T) {
	f := func(r Result, want ...string) {
		t.Helper()
		if got := strings.Join(r.Failures(), "|"); got != strings.Join(want, "|") {
			t.Errorf("%+v: got %q, want %q", r, got, want)
		}
	}
	open := &Connects{Wanted: 3, Open: 3}
	f(Result{Mode: Steady, Connect: open, Phases: []*Phase{{Delivered: 1}}})
	f(Result{Mode: Steady, Connect: &Connects{Wanted: 3, Open: 1}}, "2 subscribers could not be opened")
	f(Result{Mode: Steady, Connect: &Connects{Wanted: 3, Open: 1}, Interrupted: true})
	f(Result{Mode: Steady, Phases: []*Phase{{Lost: 2, Repeated: 1, LostConnections: 4}}}, "2 messages were lost", "1 messages were repeated", "4 connections were lost")
	f(Result{Mode: Steady, failP99: time.Second, Phases: []*Phase{{Latency: load.Percentiles{P99: 1001}}}}, "p99 is 1001.0 ms, above 1s")
	f(Result{Mode: Steady, failP99: time.Second, Phases: []*Phase{{Latency: load.Percentiles{P99: 999}}}})
	f(Result{Mode: Ramp, Knee: 5, Phases: []*Phase{{Held: true}, {Lost: 7}}})
	f(Result{Mode: Ramp, Phases: []*Phase{{Lost: 7}}}, "not even the first rate held")
	f(Result{Mode: Storm, Storms: []*StormResult{{Of: 9, Back: 8, Lost: 1}}}, "1 messages were lost", "1 subscribers did not come back")
	f(Result{Mode: Handshakes, failP99: time.Millisecond, Connect: &Connects{Percentiles: load.Percentiles{P99: 2}}}, "p99 of connecting is 2.0 ms, above 1ms")
}

func TestBroken(t *testing.T) {
	f := func(p Phase, want string) {
		t.Helper()
		p.Published = 10
		if got := p.broken(200 * time.Millisecond); got != want {
			t.Errorf("%+v: got %q, want %q", p, got, want)
		}
	}
	f(Phase{Acknowledged: 10, Latency: load.Percentiles{P99: 199}}, "")
	f(Phase{Acknowledged: 10, Latency: load.Percentiles{P99: 200}}, "p99 was 200.0 ms")
	f(Phase{Acknowledged: 9}, "1 messages were not taken")
	f(Phase{Acknowledged: 10, Lost: 1}, "1 messages were lost")
	f(Phase{Acknowledged: 10, LostConnections: 1}, "1 connections were lost")
}

func TestRound(t *testing.T) {
	f := func(in, want float64) {
		t.Helper()
		if got := round(in); math.Abs(got-want) > 1e-9*want {
			t.Errorf("%v: got %v, want %v", in, got, want)
		}
	}
	f(1, 1)
	f(1234, 1230)
	f(0.12345, 0.123)
	f(99999, 100000)
}

// A chart is XML that is whole, with numbers in it that are, whatever is drawn.
func TestChart(t *testing.T) {
	logX := false
	f := func(log bool, points ...[2]float64) {
		t.Helper()
		svg := Chart{Title: `<a & "b">`, X: "s", Y: "ms", Log: log, LogX: logX, Lines: []Line{{Name: "p<50>", Points: points}}}.File()
		dec := xml.NewDecoder(strings.NewReader(svg))
		for {
			if _, err := dec.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%v: %v in %s", points, err, svg)
			}
		}
		if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") || !strings.Contains(svg, "polyline") {
			t.Errorf("%v: %s", points, svg)
		}
	}
	for i := range 4 {
		log := i%2 == 1
		logX = i > 1
		f(log)
		f(log, [2]float64{1, 0})
		f(log, [2]float64{1, 5})
		f(log, [2]float64{1, 5}, [2]float64{2, 5})
		f(log, [2]float64{0, 0.001}, [2]float64{1, 1e7}, [2]float64{2, 0})
	}
}

// On an axis of powers each has its share.
func TestChartOfPowers(t *testing.T) {
	svg := string(Chart{LogX: true, Lines: []Line{{Points: [][2]float64{{1, 0}, {100, 0}, {10000, 0}}}}}.SVG())
	if want := `points="64.0,220.0 386.0,220.0 708.0,220.0"`; !strings.Contains(svg, want) {
		t.Errorf("want %s in %s", want, svg)
	}
}

func TestTicks(t *testing.T) {
	f := func(from, to float64, log bool, want ...float64) {
		t.Helper()
		got := ticks(from, to, log)
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || math.Abs(got[i]-want[i]) > 1e-9 {
				t.Errorf("%v to %v: got %v, want %v", from, to, got, want)
				return
			}
		}
	}
	f(0, 10, false, 0, 2, 4, 6, 8, 10)
	f(0, 1050, false, 0, 200, 400, 600, 800, 1000)
	f(0.1, 100, true, 0.1, 1, 10, 100)
}

// All ways to write a result hold what is in it, and nothing of it as markup.
func TestWrite(t *testing.T) {
	h := load.NewHist()
	load.Record(h, 1234*time.Microsecond)
	p := &Phase{Rate: 20, Published: 20, Acknowledged: 20, Expected: 60, Delivered: 57, Lost: 3, Latency: load.PercentilesOf(h), hist: h, Held: true,
		Intervals: []Interval{{At: 1, Rate: 60, P99: 1.2}}, Processes: []Used{{Name: "router", PerDelivery: 4.5, PSS: 5 << 20}}, Warnings: []string{"slow"}, Errors: map[string]int64{"<b>": 1}}
	for _, mode := range []Mode{Steady, Ramp, Storm, Handshakes} {
		r := &Result{Mode: mode, Command: "ringside bench '<script>'", Template: "ringside", Targets: []string{"a:1"}, Subscribers: 3, Connect: &Connects{Open: 3, Opened: 3, hist: h}, limit: time.Second}
		switch mode {
		case Steady, Ramp:
			r.Phases, r.Knee, r.Beyond = []*Phase{p}, 20, 40
		case Storm:
			r.Storms = []*StormResult{{Way: load.Naive, Of: 3, Back: 3, Slices: []load.Slice{{Attempts: 3, Opened: 3}}}}
		}
		var text, page, table, doc bytes.Buffer
		for w, f := range map[*bytes.Buffer]func(io.Writer) error{&text: r.WriteText, &page: r.WriteHTML, &table: r.WriteCSV, &doc: r.WriteJSON} {
			if err := f(w); err != nil {
				t.Fatalf("%s: %v", mode, err)
			}
		}
		if strings.Contains(page.String(), "<script>") || strings.Contains(page.String(), "<b>") || !strings.Contains(page.String(), "<svg") {
			t.Errorf("%s: the page is %s", mode, page.String())
		}
		var again Result
		if err := json.Unmarshal(doc.Bytes(), &again); err != nil || again.Mode != mode {
			t.Errorf("%s: got %+v, %v", mode, again, err)
		}
		for _, want := range map[Mode][]string{
			Steady:     {"57 of 60", "3 lost", "router", "4.50 µs", "slow", "FAILED"},
			Ramp:       {"20 messages/s held, 40 did not"},
			Storm:      {"naive", "3 of 3 back"},
			Handshakes: {"3 of 0 opened"},
		}[mode] {
			if !strings.Contains(text.String(), want) {
				t.Errorf("%s: the text lacks %q:\n%s", mode, want, text.String())
			}
		}
		if n := strings.Count(table.String(), "\n"); n != 1+len(r.Phases) {
			t.Errorf("%s: the table is %q", mode, table.String())
		}
	}
}
