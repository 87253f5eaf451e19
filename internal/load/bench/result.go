package bench

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ringside-edge/ringside/internal/load"
)

// Result is what a measurement has seen. Times are in milliseconds where they are latencies, and else in seconds.
type Result struct {
	Mode        Mode      `json:"mode"`
	Command     string    `json:"command,omitempty"`
	Started     time.Time `json:"started"`
	Took        float64   `json:"took"`
	Interrupted bool      `json:"interrupted"`
	Template    string    `json:"template"`
	Targets     []string  `json:"targets"`
	Subscribers int       `json:"subscribers"`
	Topics      int       `json:"topics"`
	Size        int       `json:"size"`
	Processes   int       `json:"processes"`

	Connect *Connects      `json:"connect,omitempty"`
	Phases  []*Phase       `json:"phases,omitempty"` // one, or those of a ramp
	Knee    float64        `json:"knee,omitempty"`   // the highest rate of a ramp that held
	Beyond  float64        `json:"beyond,omitempty"` // the lowest that did not
	Storms  []*StormResult `json:"storms,omitempty"`
	Used    []Used         `json:"used,omitempty"` // by handshakes

	Busy bool `json:"busy,omitempty"` // by handshakes: a process of subscribers was, so that the rate may be its own

	limit, failP99 time.Duration
	usedFor        time.Duration
	leave          bool
}

func newResult(c Config) *Result {
	return &Result{Mode: c.Mode, Command: c.Command, Started: time.Now(), Template: c.Spec.Template.Name, Targets: c.Spec.Targets, Subscribers: c.Subscribers,
		Topics: len(c.Spec.Topics), Size: c.Size, Processes: c.Processes, limit: c.Limit, failP99: c.FailP99, leave: c.Spec.Leave}
}

// Connects is how connections were opened.
type Connects struct {
	Wanted      int              `json:"wanted"`
	Open        int              `json:"open"`
	Opened      int              `json:"opened"` // those too that have gone again
	Attempts    int              `json:"attempts"`
	Refused     int              `json:"refused"`
	Failed      int              `json:"failed"`
	Seconds     float64          `json:"seconds"` // until the last one was open
	Rate        float64          `json:"rate"`    // per second
	Percentiles load.Percentiles `json:"ms"`
	Reasons     map[string]int64 `json:"reasons,omitempty"`

	hist   *hdr.Histogram
	slices []load.Slice
}

// add adds another round.
func (c *Connects) add(o Connects) {
	c.Wanted, c.Open, c.Attempts, c.Refused, c.Failed = c.Wanted+o.Wanted, c.Open+o.Open, c.Attempts+o.Attempts, c.Refused+o.Refused, c.Failed+o.Failed
	c.Opened += o.Opened
	if c.Seconds += o.Seconds; c.Seconds > 0 {
		c.Rate = float64(c.Opened) / c.Seconds
	}
	if c.Reasons == nil {
		c.Reasons, c.hist = map[string]int64{}, load.NewHist()
	}
	c.hist.Merge(o.hist)
	c.Percentiles = load.PercentilesOf(c.hist)
	c.slices = append(c.slices, o.slices...)
	for k, n := range o.Reasons {
		c.Reasons[k] += n
	}
}

// Phase is a stretch of publishing at one rate.
type Phase struct {
	Rate            float64          `json:"rate"` // that was asked for
	Seconds         float64          `json:"seconds"`
	Published       int              `json:"published"`
	Acknowledged    int              `json:"acknowledged"`
	Expected        int64            `json:"expected"` // deliveries of what was acknowledged
	Delivered       int64            `json:"delivered"`
	Lost            int64            `json:"lost"`
	Repeated        int64            `json:"repeated"`
	OutOfOrder      int64            `json:"out_of_order"`
	Away            int64            `json:"away"` // messages while their subscriber was away, and did not ask for them
	LostConnections int64            `json:"lost_connections"`
	DeliveryRate    float64          `json:"deliveries_per_second"`
	MBps            float64          `json:"mb_per_second"` // of messages, with what the protocol puts around payloads
	Latency         load.Percentiles `json:"latency_ms"`    // from when a message was due to its receipt
	Late            load.Percentiles `json:"late_ms"`       // from when it was due until it was sent
	Call            load.Percentiles `json:"publish_ms"`    // from there to the answer
	Intervals       []Interval       `json:"intervals,omitempty"`
	Processes       []Used           `json:"processes,omitempty"`
	Generator       []Used           `json:"generator,omitempty"`
	Busy            float64          `json:"machine_busy_percent,omitempty"` // whatever ran on it
	Errors          map[string]int64 `json:"errors,omitempty"`
	Warnings        []string         `json:"warnings,omitempty"`
	Held            bool             `json:"held,omitempty"` // of a ramp
	Why             string           `json:"why,omitempty"`  // it was not

	excused int64 // deliveries of what was not taken
	hist    *hdr.Histogram
}

// Interval is a second of a phase.
type Interval struct {
	At   float64 `json:"at"`
	Rate float64 `json:"deliveries_per_second"`
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	Max  float64 `json:"max"`
	Open int     `json:"open"`
}

// Used is what a process used.
type Used struct {
	Name        string  `json:"name"`
	PID         int     `json:"pid,omitempty"`
	CPUSeconds  float64 `json:"cpu_seconds"` // user and system
	Cores       float64 `json:"cores"`
	PerDelivery float64 `json:"cpu_us_per_delivery"` // of handshakes: per connection
	PSS         int64   `json:"pss_bytes,omitempty"` // shared pages divided among those who share them
	PerSession  float64 `json:"pss_per_session,omitempty"`
}

// addUsed adds what a round of handshakes has used; all are the rounds so far.
func (r *Result) addUsed(watched []Process, before, after use, all Connects) {
	r.usedFor += after.at.Sub(before.at)
	add := func(i int, name string, pid int, cpu time.Duration) *Used {
		if len(r.Used) <= i {
			r.Used = append(r.Used, Used{Name: name, PID: pid})
		}
		u := &r.Used[i]
		u.CPUSeconds += cpu.Seconds()
		u.Cores = u.CPUSeconds / r.usedFor.Seconds()
		if all.Opened > 0 {
			u.PerDelivery = u.CPUSeconds * 1e6 / float64(all.Opened)
		}
		return u
	}
	for i, w := range watched {
		u := add(i, w.Name, w.PID, after.watched[i]-before.watched[i])
		u.PSS, _ = load.PSS(w.PID) // it was there a moment ago
	}
	for i := range min(len(before.fleet), len(after.fleet)) {
		u := add(len(watched)+i, fmt.Sprintf("(subscribers %d)", i+1), 0, after.fleet[i]-before.fleet[i])
		if u.Cores > busyProcess {
			r.Busy = true
		}
	}
}

// StormResult is a storm of subscribers that come back in one way.
type StormResult struct {
	Way       load.Back        `json:"way"`
	Of        int              `json:"of"`
	Back      int              `json:"back"`
	Half      float64          `json:"half"` // seconds until half of those who came back were back
	Most      float64          `json:"p99"`
	All       float64          `json:"all"`
	Busiest   int              `json:"busiest"` // most that came back in a second
	Attempts  int              `json:"attempts"`
	Refused   int              `json:"refused"`
	Abandoned int              `json:"abandoned"`
	Reasons   map[string]int64 `json:"reasons,omitempty"`

	Published  int   `json:"published,omitempty"`
	Delivered  int64 `json:"delivered,omitempty"`
	Lost       int64 `json:"lost"`
	Repeated   int64 `json:"repeated"`
	OutOfOrder int64 `json:"out_of_order"`
	Away       int64 `json:"away"`

	Slices []load.Slice `json:"slices,omitempty"` // of 250 ms
}

func newStorm(way load.Back, of int, t load.Totals) *StormResult {
	sum := t.Attempts()
	return &StormResult{Way: way, Of: of, Back: t.Open, Half: load.Quantile(t.Back, 50).Seconds(), Most: load.Quantile(t.Back, 99).Seconds(),
		All: load.Quantile(t.Back, 100).Seconds(), Busiest: load.Busiest(t.Slices), Attempts: sum.Attempts, Refused: sum.Refused, Abandoned: sum.Abandoned,
		Reasons: t.Reasons, Slices: t.Slices}
}

// Failures is why the measurement counts as failed; none when it does not. What is beyond the knee of a ramp is no failure.
func (r *Result) Failures() (list []string) {
	fail := func(n int64, what string) {
		if n > 0 {
			list = append(list, fmt.Sprintf("%d %s", n, what))
		}
	}
	if c := r.Connect; c != nil && !r.Interrupted {
		there := c.Open
		if r.leave {
			there = c.Opened
		}
		fail(int64(c.Wanted-there), "subscribers could not be opened")
	}
	for _, p := range r.Phases {
		if r.Mode == Ramp && !p.Held {
			continue
		}
		fail(p.Lost, "messages were lost")
		fail(p.Repeated, "messages were repeated")
		fail(p.LostConnections, "connections were lost")
		if r.failP99 > 0 && p.Latency.P99 > ms(r.failP99) {
			list = append(list, fmt.Sprintf("p99 is %.1f ms, above %v", p.Latency.P99, r.failP99))
		}
	}
	for _, s := range r.Storms {
		fail(s.Lost, "messages were lost")
		fail(s.Repeated, "messages were repeated")
		if !r.Interrupted {
			fail(int64(s.Of-s.Back), "subscribers did not come back")
		}
	}
	if r.Mode == Ramp && r.Knee == 0 && !r.Interrupted {
		list = append(list, "not even the first rate held")
	}
	if r.failP99 > 0 && r.Mode == Handshakes && r.Connect != nil && r.Connect.Percentiles.P99 > ms(r.failP99) {
		list = append(list, fmt.Sprintf("p99 of connecting is %.1f ms, above %v", r.Connect.Percentiles.P99, r.failP99))
	}
	return list
}

// WriteJSON writes the result as JSON.
func (r *Result) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// WriteCSV writes a line for each second of each phase.
func (r *Result) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"rate", "second", "deliveries_per_second", "p50_ms", "p99_ms", "max_ms", "open"}) // an error stays with the writer
	f := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	for _, p := range r.Phases {
		for _, i := range p.Intervals {
			_ = out.Write([]string{f(p.Rate), f(i.At), f(i.Rate), f(i.P50), f(i.P99), f(i.Max), strconv.Itoa(i.Open)}) // likewise
		}
	}
	out.Flush()
	return out.Error()
}
