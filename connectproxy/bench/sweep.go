//go:build linux

package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"connect-proxy/connectproxy/bench/load"
	"connect-proxy/connectproxy/bench/peer"
	"connect-proxy/connectproxy/bench/report"
)

// sweepName is the row of the plots: the same work over ever more connections.
const sweepName = "sweep"

// counts are the numbers of connections in the plots.
var counts = []int{1, 3, 10, 30, 100, 300, 1000, 3000, 10_000}

// sweepAsk is a small request for an answer of some pages.
var sweepAsk = load.Ask{Request: 64, Answer: 16 << 10}

func sweepTakes(o options) time.Duration {
	return time.Duration(len(counts))*(o.window+warm) + 15*time.Second
}

// sweep opens more and more connections and has all of them ask at once.
func (b *bench) sweep(ctx context.Context, p *peer.Pair) error {
	if err := p.Restart(ctx); err != nil {
		return err
	}
	held := b.client(p).Hold()
	defer held.Close()
	for _, n := range counts {
		n = min(n, b.lab.Connections)
		if p.Kind.Slow && n > 1000 {
			break
		}
		if _, err := held.Grow(ctx, n, load.Ask{Request: 64, Answer: 64}, openWithin); err != nil {
			return fmt.Errorf("opening %d connections: %w", n, err)
		}
		got, err := held.Ask(ctx, sweepAsk, load.Window{Warm: warm, For: b.options.window, Mark: func() {}})
		if err != nil {
			return err
		}
		if len(got.Times) == 0 {
			return fmt.Errorf("asking over %d connections: nothing was answered", n)
		}
		rate := float64(len(got.Times)) * float64(sweepAsk.Answer) * 8 / 1e9 / got.Took.Seconds()
		b.add(sweepKey("rate", n), p, rate)
		b.add(sweepKey("p99", n), p, micros(report.Percentile(got.Times, 99))/1e3)
	}
	return nil
}

// sweepKey names what was found for a number of connections.
func sweepKey(what string, n int) string { return fmt.Sprintf("%s.%s.%d", sweepName, what, n) }

// points are the medians of the sweeps of one peer.
func points(f *report.Figures, what, peer string) (points []report.Point) {
	for key := range f.Values {
		text, found := strings.CutPrefix(key, sweepName+"."+what+".")
		n, err := strconv.Atoi(text)
		if s, ok := f.Summary(key, peer); found && err == nil && ok {
			points = append(points, report.Point{X: float64(n), Y: s.Median})
		}
	}
	slices.SortFunc(points, func(a, b report.Point) int { return cmp.Compare(a.X, b.X) })
	return points
}

// The plots' files, beside performance.md.
const (
	rateFile = "performance-throughput.svg"
	p99File  = "performance-p99.svg"
	busyFile = "performance-busy.svg"

	fleetFile     = "performance-fleet.svg"
	upstreamsFile = "performance-upstreams.svg"
)

// charts are the plots, by file.
func charts(f *report.Figures) map[string]report.Chart {
	const x = "connections (each asks 64 bytes, gets 16 KiB, and asks again)"
	rate := report.Chart{Title: "Throughput against the number of connections", X: x, Y: "Gbit/s"}
	p99 := report.Chart{Title: "99th percentile of the answer's time against the number of connections", X: x, Y: "ms", LogY: true}
	busy := report.Chart{
		Title: "99th percentile of a small request's time beside busy connections",
		X:     "connections that download without pause, beside 2 that ask 64 bytes", Y: "ms", LogY: true,
	}
	for _, k := range allKinds() {
		if k.Variant {
			continue
		}
		line := report.Line{Name: k.Name, Strong: k.Name == peer.Ours, Dashed: k.Reference}
		line.Points = points(f, "rate", k.Name)
		rate.Lines = append(rate.Lines, line)
		line.Points = points(f, "p99", k.Name)
		p99.Lines = append(p99.Lines, line)
		line.Points = pointsOf(f, k.Name, busyCounts(), func(n int) string { return quietName(n) + ".p99" })
		busy.Lines = append(busy.Lines, line)
	}
	all := fleetCharts(f)
	all[rateFile], all[p99File], all[busyFile] = rate, p99, busy
	return all
}

// draw writes the plots that have any points to a directory and gives their
// titles by file.
func draw(f *report.Figures, dir string) (map[string]string, error) {
	titles := map[string]string{}
	for file, chart := range charts(f) {
		if chart.Empty() {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(chart.SVG()), 0o644); err != nil {
			return nil, fmt.Errorf("writing a plot: %w", err)
		}
		titles[file] = chart.Title
	}
	return titles, nil
}
