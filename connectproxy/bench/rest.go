//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"connect-proxy/connectproxy/bench/load"
	"connect-proxy/connectproxy/bench/peer"
	"connect-proxy/connectproxy/bench/report"
)

const (
	idleConns = 1000
	// rest is how long connections rest, and how long a pair has after their
	// end, before memory is read.
	rest = 3 * time.Second
	// openWithin bounds the opening of many connections.
	openWithin = 40 * time.Second
)

var idleRow = row{
	name:    "idle",
	fresh:   true,
	rounds:  1,
	choices: true,
	fits:    func(k peer.Kind) bool { return !k.Slow },
	takes:   func(options) time.Duration { return 2*rest + 4*time.Second },
	run:     idle,
	metrics: []report.Metric{
		{Key: "idle.memory", Work: "1,000 idle connections after 1 MiB each", Unit: "kB/conn", Target: report.Target{Limited: true, Limit: 40}},
		{Key: "idle.after", Work: "the same, 3 s after their end", Unit: "kB/conn"},
		{Key: "idle.fall", Work: "the same, 3 s after their end", Unit: "share given back", More: true, Target: report.Target{Limited: true, Limit: 0.1}},
	},
}

var heldRow = row{
	name:   "held",
	fresh:  true,
	rounds: 1,
	fits:   func(k peer.Kind) bool { return !k.Slow && !k.Reference },
	takes:  func(o options) time.Duration { return 8*time.Second + time.Duration(o.connections)*time.Millisecond },
	run:    held,
	metrics: []report.Metric{
		{Key: "held.served", Work: "many connections held at once", Unit: "share served", More: true, Target: report.Target{Limited: true, Limit: 1}},
		{Key: "held.conns", Work: "many connections held at once", Unit: "connections", More: true},
		{Key: "held.descriptors", Work: "many connections held at once", Unit: "descriptors/conn"},
		{Key: "held.memory", Work: "many connections held at once", Unit: "kB/conn"},
		{Key: "held.rate", Work: "many connections held at once, opening them", Unit: "conns/s", More: true},
	},
}

var agentRow = row{
	name:   "agent",
	rounds: 1,
	fits:   func(k peer.Kind) bool { return k.Agent },
	takes:  func(o options) time.Duration { return o.window + rest + 4*time.Second },
	run:    agentRequests,
	metrics: []report.Metric{
		// Not zero: a watch may come round meanwhile.
		{Key: "agent.requests", Work: "requests to the agent", Unit: "requests/conn", Target: report.Target{Limited: true, Limit: 0.01}},
	},
}

// baseline is the memory of a pair that has served some connections, which are
// gone again.
func baseline(ctx context.Context, b *bench, p *peer.Pair) (int64, error) {
	few := b.client(p).Hold()
	_, err := few.Grow(ctx, 20, load.Ask{Request: 64, Answer: 64}, openWithin)
	few.Close()
	if err != nil {
		return 0, fmt.Errorf("warming up: %w", err)
	}
	if err := pause(ctx, time.Second); err != nil {
		return 0, err
	}
	return p.Resident()
}

// idle opens connections that carry something each and then rest.
func idle(ctx context.Context, b *bench, p *peer.Pair) error {
	before, err := baseline(ctx, b, p)
	if err != nil {
		return err
	}
	held := b.client(p).Hold()
	defer held.Close()
	failed, err := held.Grow(ctx, idleConns, load.Ask{Request: 512 << 10, Answer: 512 << 10}, openWithin)
	if failed > 0 {
		b.recordNote("%s: %d of %d connections that were to rest failed: %v", p.Kind.Name, failed, idleConns, err)
	}
	if held.Len() == 0 {
		return err
	}
	if err := pause(ctx, rest); err != nil {
		return err
	}
	during, err := p.Resident()
	if err != nil {
		return err
	}
	if dead, err := held.AskEach(ctx, load.Ask{Request: 64, Answer: 64}); dead > 0 {
		b.recordNote("%s: %d of %d connections did not answer after a rest: %v", p.Kind.Name, dead, held.Len(), err)
	}
	conns := float64(held.Len())
	held.Close()
	if err := pause(ctx, rest); err != nil {
		return err
	}
	after, err := p.Resident()
	if err != nil {
		return err
	}
	b.add("idle.memory", p, float64(during-before)/1e3/conns)
	b.add("idle.after", p, float64(after-before)/1e3/conns)
	if during > before {
		b.add("idle.fall", p, float64(during-after)/float64(during-before))
	}
	return nil
}

// held opens very many connections and asks each again when all are open.
func held(ctx context.Context, b *bench, p *peer.Pair) error {
	before, err := baseline(ctx, b, p)
	if err != nil {
		return err
	}
	files, err := p.Descriptors()
	if err != nil {
		return err
	}
	ask := load.Ask{Request: 64, Answer: 64}
	many := b.client(p).Hold()
	defer many.Close()
	begun := time.Now()
	failed, err := many.Grow(ctx, b.lab.Connections, ask, openWithin)
	took := time.Since(begun)
	if failed > 0 {
		b.recordNote("%s: %d of %d connections were not opened: %v", p.Kind.Name, failed, b.lab.Connections, err)
	}
	if many.Len() == 0 {
		return err
	}
	during, err := p.Resident()
	if err != nil {
		return err
	}
	open, err := p.Descriptors()
	if err != nil {
		return err
	}
	conns := float64(many.Len())
	dead, err := many.AskEach(ctx, ask)
	if dead > 0 {
		b.recordNote("%s: %d of %d held connections did not answer: %v", p.Kind.Name, dead, many.Len(), err)
	}
	b.add("held.served", p, (conns-float64(dead))/float64(b.lab.Connections))
	b.add("held.conns", p, conns-float64(dead))
	b.add("held.descriptors", p, float64(open-files)/conns)
	b.add("held.memory", p, float64(during-before)/1e3/conns)
	b.add("held.rate", p, conns/took.Seconds())
	return ctx.Err()
}

// agentRequests counts what the proxies ask of the agent while connections
// come and go.
func agentRequests(ctx context.Context, b *bench, p *peer.Pair) error {
	count, stop, err := p.Counted()
	if err != nil {
		return err
	}
	if err := p.Restart(ctx); err != nil {
		stop()
		return err
	}
	// What a start asks for, and first connections do, is over by then.
	if _, err = baseline(ctx, b, p); err == nil {
		err = pause(ctx, rest)
	}
	if err == nil {
		err = countRequests(ctx, b, p, count)
	}
	p.Stop()
	stop()
	if err != nil {
		return err
	}
	return p.Start(ctx)
}

func countRequests(ctx context.Context, b *bench, p *peer.Pair, count func() int) error {
	var marks []int
	v, err := b.client(p).Visit(ctx, 8, load.Window{For: b.options.window, Mark: func() { marks = append(marks, count()) }})
	if err != nil {
		return err
	}
	if len(marks) != 2 {
		return fmt.Errorf("counting requests: the window has %d marks", len(marks))
	}
	b.add("agent.requests", p, float64(marks[1]-marks[0])/float64(v.Done))
	return nil
}

// pause waits, but not longer than the context.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
