package report

import (
	"fmt"
	"html"
	"maps"
	"math"
	"slices"
	"strings"
)

// Point is one of a line; X and Y are above zero.
type Point struct{ X, Y float64 }

// Line is one peer's. A nil Points leaves it out.
type Line struct {
	Name   string
	Points []Point
	// Strong is drawn thicker, Dashed is for references.
	Strong, Dashed bool
}

// Chart is a plot over a logarithmic X.
type Chart struct {
	Title, X, Y string
	// LogY makes Y logarithmic too; else it begins at zero.
	LogY  bool
	Lines []Line
}

// The chart's measures, in SVG's units.
const (
	width, height            = 870, 440
	left, right, top, bottom = 76, 200, 46, 56
	plotWidth, plotHeight    = width - left - right, height - top - bottom
)

// colours are for light and for dark ground, each line by its place.
var colours = [][2]string{
	{"#0b5cd5", "#6cb0ff"}, {"#c2255c", "#ff8fb3"}, {"#6f42c1", "#c3a6ff"}, {"#1e8a3c", "#5fd979"},
	{"#b86e00", "#f2b14c"}, {"#5c6670", "#aab4be"}, {"#0b7f8f", "#4fd0de"}, {"#7a6a00", "#d6c545"},
}

// Empty reports whether no line has any points.
func (c Chart) Empty() bool {
	return !slices.ContainsFunc(c.Lines, func(l Line) bool { return len(l.Points) > 0 })
}

// SVG is the chart as a document that is readable on light and on dark ground.
func (c Chart) SVG() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n",
		width, height, width, height, html.EscapeString(c.Title))
	b.WriteString(style())
	fmt.Fprintf(&b, `<rect class="ground" width="%d" height="%d"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text class="title" x="%d" y="24">%s</text>`+"\n", left, html.EscapeString(c.Title))
	x, y := c.scales()
	axes(&b, x, y)
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", left+plotWidth/2, height-14, html.EscapeString(c.X))
	fmt.Fprintf(&b, `<text transform="translate(20 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", top+plotHeight/2, html.EscapeString(c.Y))
	row := 0
	// The strong ones are drawn last, over the others.
	for _, strong := range []bool{false, true} {
		for i, line := range c.Lines {
			if line.Strong == strong && len(line.Points) > 0 {
				line.draw(&b, i, x, y)
			}
		}
	}
	for i, line := range c.Lines {
		if len(line.Points) > 0 {
			line.legend(&b, i, row)
			row++
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// style is for both grounds: viewers that know the reader's wish apply the
// second part.
func style() string {
	part := func(dark int, ground, ink, grid string) string {
		var b strings.Builder
		fmt.Fprintf(&b, ".ground{fill:%s} text{fill:%s} .grid{stroke:%s}", ground, ink, grid)
		for i, c := range colours {
			fmt.Fprintf(&b, " .l%d{stroke:%s} .m%d{fill:%s}", i, c[dark], i, c[dark])
		}
		return b.String()
	}
	return "<style>\ntext{font:13px system-ui,sans-serif} .title{font-size:16px;font-weight:600} " +
		".line{fill:none;stroke-width:1.75;stroke-linejoin:round} .strong{stroke-width:3.5} .dashed{stroke-dasharray:6 4} .grid{stroke-width:1}\n" +
		part(0, "#ffffff", "#24292f", "#d8dee4") +
		"\n@media (prefers-color-scheme: dark) {\n" + part(1, "#0d1117", "#e6edf3", "#30363d") + "\n}\n</style>\n"
}

// scale turns values into places.
type scale struct {
	log       bool
	low, high float64
	from, to  float64
	ticks     []float64
}

func (s scale) at(v float64) float64 {
	low, high := s.low, s.high
	if s.log {
		v, low, high = math.Log10(v), math.Log10(low), math.Log10(high)
	}
	return s.from + (v-low)/(high-low)*(s.to-s.from)
}

func (c Chart) scales() (x, y scale) {
	var xs, ys []float64
	for _, line := range c.Lines {
		for _, p := range line.Points {
			xs, ys = append(xs, p.X), append(ys, p.Y)
		}
	}
	if len(xs) == 0 {
		xs, ys = []float64{1}, []float64{1}
	}
	x = decades(slices.Min(xs), slices.Max(xs))
	if c.LogY {
		y = decades(slices.Min(ys), slices.Max(ys))
	} else {
		y = fromZero(slices.Max(ys))
	}
	x.from, x.to = left, left+plotWidth
	y.from, y.to = top+plotHeight, top
	return x, y
}

// decades is a logarithmic scale between powers of ten.
func decades(low, high float64) scale {
	first, last := math.Floor(math.Log10(low)+1e-9), math.Ceil(math.Log10(high)-1e-9)
	last = max(last, first+1)
	s := scale{log: true, low: math.Pow(10, first), high: math.Pow(10, last)}
	for e := first; e <= last; e++ {
		s.ticks = append(s.ticks, math.Pow(10, e))
	}
	return s
}

// fromZero is a linear scale in steps of 1, 2 or 5 times a power of ten.
func fromZero(high float64) scale {
	step := math.Pow(10, math.Floor(math.Log10(high/4)))
	for _, f := range []float64{1, 2, 5, 10} {
		if high/(step*f) <= 6 {
			step *= f
			break
		}
	}
	s := scale{high: math.Ceil(high/step) * step}
	for i := 0.0; i*step <= s.high+step/2; i++ {
		s.ticks = append(s.ticks, i*step)
	}
	return s
}

func axes(b *strings.Builder, x, y scale) {
	for _, v := range x.ticks {
		at := x.at(v)
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`, at, top, at, top+plotHeight)
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", at, top+plotHeight+20, tick(v))
	}
	for _, v := range y.ticks {
		at := y.at(v)
		fmt.Fprintf(b, `<line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/>`, left, at, left+plotWidth, at)
		fmt.Fprintf(b, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", left-8, at+4, tick(v))
	}
}

// tick is a value at an axis: as few digits as it has.
func tick(v float64) string {
	if v >= 1000 {
		return number(v)
	}
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.3f", v), "0"), ".")
}

func (l Line) class(i int) string {
	class := fmt.Sprintf("line l%d", i%len(colours))
	if l.Strong {
		class += " strong"
	}
	if l.Dashed {
		class += " dashed"
	}
	return class
}

func (l Line) draw(b *strings.Builder, i int, x, y scale) {
	var path []string
	for _, p := range l.Points {
		path = append(path, fmt.Sprintf("%.1f,%.1f", x.at(p.X), y.at(p.Y)))
	}
	fmt.Fprintf(b, `<polyline class="%s" points="%s"/>`+"\n", l.class(i), strings.Join(path, " "))
	for _, p := range l.Points {
		mark(b, i, x.at(p.X), y.at(p.Y))
	}
}

func (l Line) legend(b *strings.Builder, i, row int) {
	x, y := float64(left+plotWidth+16), float64(top+12+22*row)
	fmt.Fprintf(b, `<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, l.class(i), x, y, x+26, y)
	mark(b, i, x+13, y)
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f">%s</text>`+"\n", x+32, y+4, html.EscapeString(l.Name))
}

// mark is a shape of its own for each line, for those who cannot tell the
// colours apart.
func mark(b *strings.Builder, i int, x, y float64) {
	shapes := []string{
		"M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0", "M-3.5,-3.5h7v7h-7z", "M0,-4.5L4.5,3.5h-9z", "M0,-5L5,0L0,5L-5,0z",
		"M0,4.5L4.5,-3.5h-9z", "M-4.5,-1.5h9v3h-9z", "M-1.5,-4.5h3v9h-3z", "M-5,0L0,-2.5L5,0L0,2.5z",
	}
	fmt.Fprintf(b, `<path class="m%d" transform="translate(%.1f %.1f)" d="%s"/>`+"\n", i%len(colours), x, y, shapes[i%len(shapes)])
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
