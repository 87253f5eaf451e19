package main

import (
	"bytes"
	"fmt"
	"image/color"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Colours that people who don't tell red from green tell apart (Okabe and Ito, "Color Universal Design", 2008).
//
//nolint:gochecknoglobals // constants in all but name
var colours = []color.Color{
	color.RGBA{0xd5, 0x5e, 0x00, 0xff}, color.RGBA{0xe6, 0x9f, 0x00, 0xff}, color.RGBA{0x00, 0x72, 0xb2, 0xff},
}

const (
	pictureWidth  = 22 * vg.Centimeter
	pictureHeight = 16 * vg.Centimeter
	captionSize   = 11
)

// picture draws the storms of one crowd below each other: who is back, and how many attempts there are in a second, in all of the
// cluster.
func picture(path, title string, names []string, storms []outcome, routers int) error {
	back, attempts := panel(title, "sessions"), panel("", "attempts per second")
	attempts.X.Label.Text = "seconds after the loss"
	attempts.Y.Scale, attempts.Y.Tick.Marker, attempts.Y.Min = plot.LogScale{}, plot.LogTicks{Prec: -1}, 1
	end := 0.0
	for i, o := range storms {
		var open, tried plotter.XYs
		for n, s := range o.Steps {
			at := float64(n+1) * step.Seconds()
			open = append(open, plotter.XY{X: at, Y: float64(s.Open * routers)})
			tried = append(tried, plotter.XY{X: at, Y: max(1, float64(s.Attempts*routers)/step.Seconds())})
			end = max(end, at)
		}
		for p, xys := range map[*plot.Plot]plotter.XYs{back: open, attempts: tried} {
			l, err := plotter.NewLine(xys)
			if err != nil {
				return fmt.Errorf("cannot draw %s: %w", names[i], err)
			}
			l.Color, l.Width = colours[i], vg.Points(1.5)
			p.Add(l)
			if p == back {
				p.Legend.Add(names[i], l)
			}
		}
	}
	back.X.Max, attempts.X.Max = end, end
	canvas := vgsvg.NewWith(vgsvg.UseWH(pictureWidth, pictureHeight))
	tiles := draw.Tiles{Rows: 2, Cols: 1, PadTop: vg.Points(6), PadBottom: vg.Points(6), PadLeft: vg.Points(6), PadRight: vg.Points(12), PadY: vg.Points(10)}
	plots := [][]*plot.Plot{{back}, {attempts}}
	for i, row := range plot.Align(plots, tiles, draw.New(canvas)) {
		plots[i][0].Draw(row[0])
	}
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

func panel(title, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.Y.Label.Text = title, y
	p.BackgroundColor = color.White // also where the page around it is dark
	p.Y.Min, p.X.Min = 0, 0
	p.Legend.Left, p.Legend.XOffs, p.Legend.YOffs, p.Legend.Padding = true, pictureWidth/2, vg.Points(10), vg.Points(4) // a browser's letters are wider than was thought
	p.Add(plotter.NewGrid())
	for _, t := range []*draw.TextStyle{&p.Title.TextStyle, &p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label, &p.Legend.TextStyle} {
		t.Font.Variant, t.Font.Size = "Sans", captionSize
	}
	return p
}
