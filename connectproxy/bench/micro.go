//go:build linux

package main

import (
	"context"
	"time"

	"connect-proxy/connectproxy/bench/load"
	"connect-proxy/connectproxy/bench/peer"
	"connect-proxy/connectproxy/bench/report"
)

// microRow measures what a call of Micro costs, beside one of the service itself
// without any proxy, and one by an upstream's port, where its bytes are relayed.
func microRow(takes func(options) time.Duration) row {
	const work = "calls of Micro, one after another"
	ways := []struct{ key, how string }{
		{"micro.direct", "of the service itself"}, {"micro.port", "an upstream's port"}, {"micro.calls", "by name"},
	}
	r := row{
		name:  "micro",
		takes: func(o options) time.Duration { return time.Duration(len(ways)) * takes(o) },
		fits:  func(k peer.Kind) bool { return k.Name == peer.Ours },
	}
	for _, w := range ways {
		r.metrics = append(r.metrics, report.Metric{Key: w.key + ".p50", Work: work + ", " + w.how, Unit: "p50 µs"})
	}
	for _, w := range ways[1:] {
		r.metrics = append(r.metrics, report.Metric{Key: w.key + ".cpu", Work: work + ", " + w.how, Unit: "CPU µs/call"})
	}
	r.run = func(ctx context.Context, b *bench, p *peer.Pair) error {
		address, name := p.Calls()
		for i, at := range []string{p.Application(), p.Address(), address} {
			w, cpu := b.window(p)
			v, err := load.NewClient(at).Calls(ctx, name, w)
			if err != nil {
				return err
			}
			spent, err := cpu.elapsed()
			if err != nil {
				return err
			}
			b.add(ways[i].key+".p50", p, micros(v.Times[len(v.Times)/2]))
			if i > 0 {
				b.add(ways[i].key+".cpu", p, micros(spent)/float64(v.Done))
			}
		}
		return nil
	}
	return r
}
