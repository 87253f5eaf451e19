package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/ringside-edge/ringside/internal/look"
)

// row is what was found of a benchmark.
type row struct {
	Name    string  `json:"name"`
	Sockets bool    `json:"sockets"`
	Allocs  float64 `json:"allocs"`
	Bytes   float64 `json:"bytes"`
	Was     float64 `json:"was,omitempty"` // of the earlier release, in whatever the benchmark tells
	Is      float64 `json:"is,omitempty"`
	Ratio   float64 `json:"ratio,omitempty"` // 0: not compared
	Limit   float64 `json:"limit,omitempty"`
	Verdict string  `json:"verdict,omitempty"` // empty when it is as it should be
	Note    string  `json:"note,omitempty"`
}

// limit is the benchmark's own, where that of those that only compute is given.
func (r *row) limit(pure float64) float64 {
	if r.Sockets {
		return pure * socketShare
	}
	return pure
}

// fail notes that a benchmark is not as it should be.
func (r *row) fail(verdict, note string) {
	if r.Verdict != "" {
		verdict = r.Verdict + ", " + verdict
	}
	r.Verdict = verdict
	r.remark(note)
}

// remark adds to the note.
func (r *row) remark(note string) {
	if r.Note != "" {
		note = r.Note + "; " + note
	}
	r.Note = note
}

func (r *row) judgeAllocs(a, was allocs, socket *withSocket) {
	switch how, more := a.sameAs(was, socket); {
	case how == "":
	case more:
		r.fail("allocates more", how)
	default:
		r.fail("allocates less", how+": update the file: make bench-guard-update")
	}
}

// report is what a run has found.
type report struct {
	Go         string  `json:"go"`
	OtherGo    string  `json:"allocs_written_with,omitempty"` // when that was another version
	Baseline   string  `json:"baseline,omitempty"`
	NoBaseline string  `json:"no_baseline,omitempty"`
	Limit      float64 `json:"limit"`
	Benchmarks []row   `json:"benchmarks"`
}

func (r *report) worse() bool {
	for _, b := range r.Benchmarks {
		if b.Verdict != "" {
			return true
		}
	}
	return false
}

func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func (r *report) write(w io.Writer, s look.Style) error {
	t := look.NewTable(s, "benchmark", "allocs", "bytes", "ratio", "verdict", "")
	failed, compared := 0, 0
	for _, b := range r.Benchmarks {
		ratio, verdict := "", look.Cell{Text: "ok", Paint: s.Good}
		if b.Ratio > 0 {
			ratio = fmt.Sprintf("%.2f", b.Ratio)
			compared++
		}
		if b.Verdict != "" {
			verdict = look.Cell{Text: b.Verdict, Paint: s.Bad}
			failed++
		}
		note := b.Note
		if note == "" && ratio == "" && r.NoBaseline == "" {
			note = "not compared"
		}
		t.Row(b.Name, fmt.Sprint(b.Allocs), fmt.Sprint(b.Bytes), ratio, verdict, look.Cell{Text: note, Paint: s.Faint})
	}
	text := t.String() + "\n"
	if r.OtherGo != "" {
		text += s.Warn(fmt.Sprintf("allocs.txt was written with %s, and this is %s: allocations may differ for that alone", r.OtherGo, r.Go)) + "\n"
	}
	if r.NoBaseline != "" {
		text += s.Warn("SKIPPED: costs were not compared: "+r.NoBaseline) + "\n"
	} else {
		text += fmt.Sprintf("%d compared with %s; a ratio above %.2f fails, with sockets above %.2f\n", compared, r.Baseline, r.Limit, r.Limit*socketShare)
	}
	if failed > 0 {
		text += s.Bad(fmt.Sprintf("%d of %d benchmarks are not as they should be: see \"When the guard trips\" in CONTRIBUTING.md", failed, len(r.Benchmarks))) + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}
