package bench

import (
	_ "embed"
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
)

// Line is a line of a chart.
type Line struct {
	Name   string
	Points [][2]float64
}

// Chart is a picture of lines, of which it has four colours. They are the page's, so that it is fit for dark and for light.
type Chart struct {
	Title, X, Y string
	Log         bool // the vertical axis
	LogX        bool // the other one
	Lines       []Line
}

// Size of a chart, and of what is around its lines.
const (
	chartWidth, chartHeight            = 720.0, 260.0
	leftEdge, rightEdge, topEdge, foot = 64.0, 12.0, 28.0, 40.0
)

// Of a line's name, below the lines.
const legendGap, letterWidth = 44.0, 7.0

// SVG draws it for a page that has the style.
func (c Chart) SVG() template.HTML {
	minX, maxX, minY, maxY := c.bounds()
	atX := func(v float64) float64 {
		return leftEdge + share(v, minX, maxX, c.LogX)*(chartWidth-leftEdge-rightEdge)
	}
	atY := func(v float64) float64 {
		return chartHeight - foot - share(v, minY, maxY, c.Log)*(chartHeight-topEdge-foot)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" role="img" aria-label="%s">`, chartWidth, chartHeight, html.EscapeString(c.Title))
	fmt.Fprintf(&b, `<text class="title" x="%g" y="16">%s</text>`, leftEdge, html.EscapeString(c.Title+", "+c.Y))
	for _, v := range ticks(minY, maxY, c.Log) {
		fmt.Fprintf(&b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text class="tick" text-anchor="end" x="%g" y="%.1f">%s</text>`,
			leftEdge, chartWidth-rightEdge, atY(v), atY(v), leftEdge-6, atY(v)+4, label(v))
	}
	for _, v := range ticks(minX, maxX, c.LogX) {
		fmt.Fprintf(&b, `<text class="tick" text-anchor="middle" x="%.1f" y="%g">%s</text>`, atX(v), chartHeight-foot+16, label(v))
	}
	fmt.Fprintf(&b, `<text class="tick" text-anchor="end" x="%g" y="%g">%s</text>`, chartWidth-rightEdge, chartHeight-6, html.EscapeString(c.X))
	at := leftEdge
	for i, l := range c.Lines {
		var d []string
		for _, p := range l.Points {
			d = append(d, fmt.Sprintf("%.1f,%.1f", atX(p[0]), atY(p[1])))
		}
		fmt.Fprintf(&b, `<polyline class="s%d" points="%s"/>`, i%4, strings.Join(d, " "))
		if len(l.Points) == 1 {
			fmt.Fprintf(&b, `<circle class="s%d" cx="%.1f" cy="%.1f" r="3"/>`, i%4, atX(l.Points[0][0]), atY(l.Points[0][1]))
		}
		fmt.Fprintf(&b, `<line class="s%d" x1="%g" x2="%g" y1="%g" y2="%g"/><text class="tick" x="%g" y="%g">%s</text>`,
			i%4, at, at+18, chartHeight-10, chartHeight-10, at+24, chartHeight-6, html.EscapeString(l.Name))
		at += legendGap + letterWidth*float64(len(l.Name))
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) //nolint:gosec // names are escaped, and all else is numbers
}

// share is where a value is between two others.
func share(v, from, to float64, log bool) float64 {
	if log {
		return (math.Log10(max(v, from)) - math.Log10(from)) / (math.Log10(to) - math.Log10(from))
	}
	return (v - from) / (to - from)
}

// File draws it as a picture by itself, with the style in it.
func (c Chart) File() string {
	head, rest, _ := strings.Cut(string(c.SVG()), ">")
	return head + "><style>" + chartStyle + "svg{background:var(--back)}</style>" + rest
}

//go:embed chart.css
var chartStyle string

// bounds are those of all points; no axis is empty.
func (c Chart) bounds() (minX, maxX, minY, maxY float64) {
	minX, maxY = math.Inf(1), math.Inf(-1)
	maxX, minY = math.Inf(-1), 0
	if c.Log {
		minY = math.Inf(1)
	}
	for _, l := range c.Lines {
		for _, p := range l.Points {
			maxX, maxY = max(maxX, p[0]), max(maxY, p[1])
			if !c.LogX || p[0] > 0 {
				minX = min(minX, p[0])
			}
			if c.Log && p[1] > 0 {
				minY = min(minY, p[1])
			}
		}
	}
	switch {
	case math.IsInf(minX, 0):
		minX, maxX = 1, 2 // nothing is drawn
	case !c.LogX && !(maxX > minX):
		minX, maxX = minX-1, minX+1
	}
	if c.LogX {
		minX, maxX = decades(minX, maxX)
	}
	if c.Log {
		if math.IsInf(minY, 0) {
			minY = 1
		}
		minY, maxY = decades(minY, maxY)
		return minX, maxX, minY, maxY
	}
	if !(maxY > 0) {
		maxY = 1
	}
	return minX, maxX, 0, maxY * 1.05
}

// decades are the powers of ten around a range.
func decades(from, to float64) (low, high float64) {
	low = math.Pow(10, math.Floor(math.Log10(from)))
	return low, math.Pow(10, math.Ceil(math.Log10(max(to, low*1.01))))
}

// ticks are round numbers between two others.
func ticks(from, to float64, log bool) (list []float64) {
	if log {
		for v := from; v <= to*1.001; v *= 10 {
			list = append(list, v)
		}
		return list
	}
	unit := math.Pow(10, math.Floor(math.Log10((to-from)/4)))
	for _, by := range []float64{1, 2, 5, 10} {
		if (to-from)/(unit*by) <= 6 {
			unit *= by
			break
		}
	}
	for i := math.Ceil(from / unit); i*unit <= to && len(list) < 20; i++ {
		list = append(list, i*unit)
	}
	return list
}

func label(v float64) string {
	if v >= 1e6 {
		return fmt.Sprintf("%gM", math.Round(v/1e4)/100)
	}
	return fmt.Sprintf("%g", math.Round(v*1000)/1000)
}
