//go:build linux

package main

import (
	"context"
	"time"

	"connect-proxy/connectproxy/bench/peer"
	"connect-proxy/connectproxy/bench/report"
)

// row is one kind of work.
type row struct {
	name string
	// fresh rows begin with new processes, which remember no other row.
	fresh bool
	// rounds is how many are enough, where that is fewer than of other rows.
	rounds int
	// choices says that choices of ours take it too.
	choices bool
	// takes is how long it takes for one pair, roughly.
	takes func(o options) time.Duration
	// fits says for which kinds the row is; nil is all.
	fits func(peer.Kind) bool
	// metrics are what run adds.
	metrics []report.Metric
	run     func(ctx context.Context, b *bench, p *peer.Pair) error
	// together is in place of run where all pairs are measured at once.
	together func(ctx context.Context, b *bench, pairs []*peer.Pair) error
}

// suits reports whether a kind takes the row.
func (r row) suits(k peer.Kind) bool {
	return (r.fits == nil || r.fits(k)) && (r.choices || !k.Choice)
}

// times is in how many rounds it is measured.
func (r row) times(o options) int {
	if r.rounds > 0 {
		return min(r.rounds, o.rounds)
	}
	return o.rounds
}

const (
	ofBuiltin = 3.0  // connections a second
	ofCPU     = 0.85 // of the best peer's
)

// rows are those of the report, in its order.
func rows() []row {
	loaded := func(o options) time.Duration { return o.window + warm + 100*time.Millisecond }
	rows := []row{{
		name:    "new",
		choices: true,
		takes:   loaded,
		run:     newConnections,
		metrics: []report.Metric{
			{Key: "new.rate", Work: "new connections, 8 at a time", Unit: "conns/s", More: true, Target: report.Target{Factor: ofBuiltin, Peer: peer.Builtin}},
			{Key: "new.cpu", Work: "new connections, 8 at a time", Unit: "CPU µs/conn", Target: report.Target{Factor: 0.5}},
			{Key: "new.agent", Work: "new connections, 8 at a time", Unit: "agent's CPU µs/conn"},
		},
	}}
	for _, bulk := range bulks {
		rows = append(rows, row{
			name:    bulk.name,
			choices: bulk.conns == 1,
			takes:   loaded,
			run:     bulk.run,
			metrics: []report.Metric{
				{Key: bulk.name + ".rate", Work: bulk.work, Unit: "Gbit/s", More: true, Target: report.Target{Factor: 1}},
				{Key: bulk.name + ".cpu", Work: bulk.work, Unit: "CPU s/GB", Target: report.Target{Factor: ofCPU}},
			},
		})
	}
	for _, r := range rtts {
		rows = append(rows, row{
			name:    r.name,
			choices: r.conns == 1,
			takes:   loaded,
			run:     r.run,
			metrics: []report.Metric{
				{Key: r.name + ".p50", Work: r.work, Unit: "p50 µs", Target: report.Target{Factor: 1}},
				{Key: r.name + ".p99", Work: r.work, Unit: "p99 µs", Target: report.Target{Factor: 1}},
				{Key: r.name + ".cpu", Work: r.work, Unit: "CPU µs/request", Target: report.Target{Factor: ofCPU}},
			},
		})
	}
	rows = append(rows, quietRows()...)
	rows = append(rows, handshakeRows(loaded)...)
	rows = append(rows, byNameRow(loaded), microRow(loaded))
	return append(rows, idleRow, heldRow, agentRow, fleetRow())
}

func rowNames() []string {
	var names []string
	for _, r := range rows() {
		names = append(names, r.name)
	}
	return append(names, sweepName)
}

func metrics() []report.Metric {
	var all []report.Metric
	for _, r := range rows() {
		all = append(all, r.metrics...)
	}
	return all
}
