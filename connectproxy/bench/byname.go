//go:build linux

package main

import (
	"context"
	"time"

	"connect-proxy/connectproxy/bench/load"
	"connect-proxy/connectproxy/bench/peer"
	"connect-proxy/connectproxy/bench/report"
)

// byNameRow measures what it costs a new connection to name its service, beside
// one to an upstream's port.
func byNameRow(takes func(options) time.Duration) row {
	const work = "new connections, 1 at a time"
	ways := []struct{ key, how string }{
		{"by-name.port", "an upstream's port"}, {"by-name.socks5", "by SOCKS5"}, {"by-name.connect", "by HTTP CONNECT"},
	}
	r := row{
		name:  "by-name",
		takes: func(o options) time.Duration { return time.Duration(len(ways)) * takes(o) },
		fits:  func(k peer.Kind) bool { return k.Name == peer.Ours },
	}
	for _, w := range ways {
		r.metrics = append(r.metrics,
			report.Metric{Key: w.key + ".p50", Work: work + ", " + w.how, Unit: "p50 µs"},
			report.Metric{Key: w.key + ".cpu", Work: work + ", " + w.how, Unit: "CPU µs/conn"})
	}
	r.run = func(ctx context.Context, b *bench, p *peer.Pair) error {
		address, name := p.ByName()
		named := load.NewClient(address, sources()...)
		for i, c := range []*load.Client{b.client(p), named.Greeting(load.SOCKS5(name)), named.Greeting(load.CONNECT(name))} {
			w, cpu := b.window(p)
			v, err := c.Visit(ctx, 1, w)
			if err != nil {
				return err
			}
			spent, err := cpu.elapsed()
			if err != nil {
				return err
			}
			if v.Failed > 0 {
				b.recordNote("%s: %d of %d connections failed, %s: %v", p.Kind.Name, v.Failed, int64(v.Failed)+v.Done, ways[i].how, v.Err)
			}
			b.add(ways[i].key+".p50", p, micros(v.Times[len(v.Times)/2]))
			b.add(ways[i].key+".cpu", p, micros(spent)/float64(v.Done))
		}
		return nil
	}
	return r
}
