//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"connect-proxy/connectproxy/bench/load"
	"connect-proxy/connectproxy/bench/peer"
	"connect-proxy/connectproxy/bench/report"
)

// handshakeRows measure the server's side of handshakes, full and resumed, for
// ours and its variants. The client is the benchmark itself, since a proxy
// resumes whenever it can.
func handshakeRows(takes func(options) time.Duration) (rows []row) {
	for _, k := range []struct {
		name, work string
		resumed    bool
	}{
		{"handshake-full", "full handshakes, 4 at a time", false},
		{"handshake-resumed", "resumed handshakes, 4 at a time", true},
	} {
		rows = append(rows, row{
			name:    k.name,
			choices: true,
			takes:   takes,
			fits:    func(k peer.Kind) bool { return k.Name == peer.Ours || k.Variant },
			metrics: []report.Metric{
				{Key: k.name + ".rate", Work: k.work, Unit: "conns/s", More: true},
				{Key: k.name + ".cpu", Work: k.work, Unit: "CPU µs/conn of the server's proxy"},
			},
			run: func(ctx context.Context, b *bench, p *peer.Pair) error {
				return handshakes(ctx, b, p, k.name, k.resumed)
			},
		})
	}
	return rows
}

// handshakes opens connections straight to the server's proxy.
func handshakes(ctx context.Context, b *bench, p *peer.Pair, name string, resumed bool) error {
	address, cfg, err := p.Caller()
	if err != nil {
		return err
	}
	if resumed {
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	client := load.NewClient(address, sources()...).WithTLS(cfg)
	cpu := &stopwatch{read: p.ServerCPU}
	v, err := client.Visit(ctx, 4, load.Window{Warm: warm, For: b.options.window, Mark: cpu.mark})
	if err != nil {
		return err
	}
	spent, err := cpu.elapsed()
	if err != nil {
		return err
	}
	if v.Failed > 0 {
		b.recordNote("%s: %d of %d connections failed: %v", p.Kind.Name, v.Failed, int64(v.Failed)+v.Done, v.Err)
	}
	// The first few of those that resume have nothing to resume yet.
	if n := client.Resumed(); !resumed && n > 0 || resumed && n < v.Done*9/10 {
		return fmt.Errorf("shaking hands: %d of %d connections resumed a session", n, v.Done)
	}
	b.add(name+".rate", p, float64(v.Done)/v.Took.Seconds())
	b.add(name+".cpu", p, micros(spent)/float64(v.Done))
	return nil
}
