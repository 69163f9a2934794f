//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"connect-proxy/connectproxy/bench/peer"
	"connect-proxy/connectproxy/bench/report"
)

const (
	// fleetUpstreams are those of each sidecar of a fleet.
	fleetUpstreams = 5
	// fleetSettles is how long fleets have after the last one's start. What was
	// used within the last minute is in use, for ours at least.
	fleetSettles = 65 * time.Second
	// fleetRests is how long they are then measured.
	fleetRests = 10 * time.Second
)

// formation is fleets of several sizes, each at an agent of its own.
type formation struct {
	name, work string
	sizes      []int
	shape      func(size int) peer.Shape
	// targets are what is to be reached, by the end of a metric's key.
	targets func(size int) map[string]float64
}

// sidecarsAt are many sidecars at one agent, upstreamsOf are many of one
// sidecar.
var (
	sidecarsAt = formation{
		name: "sidecars", work: "%d × sidecar, 5 upstreams each", sizes: []int{1, 10, 30, 60},
		shape: func(n int) peer.Shape { return peer.Shape{Sidecars: n, Upstreams: fleetUpstreams} },
		targets: func(n int) map[string]float64 {
			if n < 60 {
				return map[string]float64{"most": float64(3 * n)}
			}
			return map[string]float64{"most": float64(3 * n), "ready": 60, "cpu": 5, "agent": 5}
		},
	}
	upstreamsOf = formation{
		name: "upstreams", work: "a sidecar, %d × upstream", sizes: []int{1, 10, 100, 1000},
		shape: func(n int) peer.Shape { return peer.Shape{Sidecars: 1, Upstreams: n} },
		targets: func(n int) map[string]float64 {
			if n < 1000 {
				return map[string]float64{"most": 3}
			}
			return map[string]float64{"most": 3, "ready": 30, "cpu": 1, "agent": 1}
		},
	}
	formations = []formation{sidecarsAt, upstreamsOf}
)

const fleetName = "fleet"

// key is that of a metric for fleets of a size.
func (m formation) key(size int, what string) string {
	return fmt.Sprintf("%s.%s.%d.%s", fleetName, m.name, size, what)
}

// fleetRow measures all fleets of all kinds together: what takes long is to
// wait until they rest.
func fleetRow() row {
	r := row{
		name: fleetName,
		// What they do differs little, and each takes its time.
		rounds:   1,
		fits:     func(k peer.Kind) bool { return k.Agent },
		takes:    func(options) time.Duration { return 40*time.Second + (fleetSettles+fleetRests)/2 },
		together: runFleets,
	}
	for _, m := range formations {
		for _, size := range m.sizes {
			r.metrics = append(r.metrics, m.metrics(size)...)
		}
	}
	return r
}

func (m formation) metrics(size int) (all []report.Metric) {
	for _, metric := range []report.Metric{
		{Key: "ready", Unit: "s until every upstream answers"},
		{Key: "most", Unit: "connections at the agent, at most"},
		{Key: "rest", Unit: "connections, at rest"},
		{Key: "requests", Unit: "requests/s, at rest"},
		{Key: "cpu", Unit: "% of a CPU, all proxies at rest"},
		{Key: "agent", Unit: "% of a CPU, the agent at rest"},
		{Key: "private", Unit: "MB of its own, each proxy"},
		{Key: "shared", Unit: "MB shared, each proxy"},
	} {
		limit, limited := m.targets(size)[metric.Key]
		metric.Target = report.Target{Limited: limited, Limit: limit}
		metric.Key, metric.Work, metric.Grid = m.key(size, metric.Key), fmt.Sprintf(m.work, size), true
		all = append(all, metric)
	}
	return all
}

// started is a fleet that runs.
type started struct {
	*peer.Fleet
	pair   *peer.Pair
	of     formation
	size   int
	before peer.Usage
}

// runFleets starts one fleet after the other, lets them rest, and measures all
// of them at rest together.
func runFleets(ctx context.Context, b *bench, pairs []*peer.Pair) error {
	var running []*started
	defer func() {
		for _, f := range running {
			f.Stop()
		}
	}()
	for _, m := range formations {
		for _, size := range m.sizes {
			for _, p := range pairs {
				f, ready, err := b.lab.StartFleet(ctx, p.Kind, m.shape(size))
				if err != nil {
					f.Stop()
					b.recordNote("%s: "+m.work+": %v", p.Kind.Name, size, err)
					continue
				}
				running = append(running, &started{Fleet: f, pair: p, of: m, size: size})
				b.add(m.key(size, "ready"), p, ready.Seconds())
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	if err := watch(ctx, running, fleetSettles); err != nil {
		return err
	}
	begun := time.Now()
	for _, f := range running {
		var err error
		if f.before, err = f.Usage(ctx); err != nil {
			return err
		}
	}
	if err := watch(ctx, running, fleetRests); err != nil {
		return err
	}
	for _, f := range running {
		if err := b.rested(ctx, f, time.Since(begun).Seconds()); err != nil {
			return err
		}
	}
	return nil
}

// rested adds what a fleet took at rest within so many seconds.
func (b *bench) rested(ctx context.Context, f *started, seconds float64) error {
	// In this order: to ask what was spent takes a connection too.
	held, err := f.Holding()
	if err != nil {
		return err
	}
	after, err := f.Usage(ctx)
	if err != nil {
		return err
	}
	each := float64(f.of.shape(f.size).Sidecars) * 1e6
	for what, value := range map[string]float64{
		"most":     float64(held.Most),
		"rest":     float64(held.Connections),
		"requests": (after.Requests - f.before.Requests - 1) / seconds, // one was for the number
		"cpu":      100 * (after.Proxies - f.before.Proxies).Seconds() / seconds,
		"agent":    100 * (after.Agent - f.before.Agent).Seconds() / seconds,
		"private":  float64(held.Private) / each,
		"shared":   float64(held.Shared) / each,
	} {
		b.add(f.of.key(f.size, what), f.pair, value)
	}
	return nil
}

// watch looks at fleets again and again for so long.
func watch(ctx context.Context, fleets []*started, during time.Duration) error {
	timer := time.NewTimer(during)
	defer timer.Stop()
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
			for _, f := range fleets {
				if err := f.Look(); err != nil {
					return err
				}
			}
		}
	}
}

// fleetCharts are the plots of fleets, by file.
func fleetCharts(f *report.Figures) map[string]report.Chart {
	at := report.Chart{
		Title: "Connections at the agent against the number of sidecars", X: "sidecars with 5 upstreams each, at one agent",
		Y: "connections, at rest", LogY: true,
	}
	memory := report.Chart{
		Title: "Memory of a sidecar against the number of its upstreams", X: "upstreams, one of them with an instance",
		Y: "MB of its own, at rest", LogY: true,
	}
	for _, k := range allKinds() {
		if k.Variant || !k.Agent {
			continue
		}
		line := report.Line{Name: k.Name, Strong: k.Name == peer.Ours}
		line.Points = pointsOf(f, k.Name, sidecarsAt.sizes, func(n int) string { return sidecarsAt.key(n, "rest") })
		at.Lines = append(at.Lines, line)
		line.Points = pointsOf(f, k.Name, upstreamsOf.sizes, func(n int) string { return upstreamsOf.key(n, "private") })
		memory.Lines = append(memory.Lines, line)
	}
	return map[string]report.Chart{fleetFile: at, upstreamsFile: memory}
}

// pointsOf are the medians of one peer over some numbers.
func pointsOf(f *report.Figures, peer string, over []int, key func(int) string) (points []report.Point) {
	for _, n := range over {
		if s, ok := f.Summary(key(n), peer); ok && s.Median > 0 {
			points = append(points, report.Point{X: float64(n), Y: s.Median})
		}
	}
	return points
}
