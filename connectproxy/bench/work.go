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

// warm is how long a load runs before it is measured.
const warm = 200 * time.Millisecond

// stopwatch is what processes have spent at the marks of a window.
type stopwatch struct {
	read  func() (time.Duration, error)
	marks []time.Duration
	err   error
}

func (s *stopwatch) mark() {
	spent, err := s.read()
	if err != nil && s.err == nil {
		s.err = err
	}
	s.marks = append(s.marks, spent)
}

// elapsed is the time between the two marks.
func (s *stopwatch) elapsed() (time.Duration, error) {
	if s.err != nil || len(s.marks) != 2 {
		return 0, fmt.Errorf("measuring what was spent: %w", s.err)
	}
	return s.marks[1] - s.marks[0], nil
}

// window is one in which the pair's time is taken.
func (b *bench) window(p *peer.Pair) (load.Window, *stopwatch) {
	s := &stopwatch{read: p.CPU}
	return load.Window{Warm: warm, For: b.options.window, Mark: s.mark}, s
}

// newConnections opens eight connections at a time.
func newConnections(ctx context.Context, b *bench, p *peer.Pair) error {
	w, cpu := b.window(p)
	agent := &stopwatch{read: b.lab.AgentCPU}
	w.Mark = func() { cpu.mark(); agent.mark() }
	v, err := b.client(p).Visit(ctx, 8, w)
	if err != nil {
		return err
	}
	spent, err := cpu.elapsed()
	if err != nil {
		return err
	}
	if v.Failed > 0 {
		b.recordNote("%s: %d of %d new connections failed: %v", p.Kind.Name, v.Failed, int64(v.Failed)+v.Done, v.Err)
	}
	b.add("new.rate", p, float64(v.Done)/v.Took.Seconds())
	b.add("new.cpu", p, micros(spent)/float64(v.Done))
	if p.Kind.Agent {
		spent, err := agent.elapsed()
		if err != nil {
			return err
		}
		b.add("new.agent", p, micros(spent)/float64(v.Done))
	}
	return nil
}

// bulk is a transfer.
type bulk struct {
	name, work string
	conns      int
	up         bool
}

var bulks = []bulk{
	{"bulk-1-up", "bulk, 1 connection up", 1, true},
	{"bulk-1-down", "bulk, 1 connection down", 1, false},
	{"bulk-4-up", "bulk, 4 connections up", 4, true},
	{"bulk-4-down", "bulk, 4 connections down", 4, false},
}

func (k bulk) run(ctx context.Context, b *bench, p *peer.Pair) error {
	w, cpu := b.window(p)
	got, err := b.client(p).Transfer(ctx, k.conns, k.up, w)
	if err != nil {
		return err
	}
	spent, err := cpu.elapsed()
	if err != nil {
		return err
	}
	gigabytes := float64(got.Bytes) / 1e9
	b.add(k.name+".rate", p, gigabytes*8/got.Took.Seconds())
	b.add(k.name+".cpu", p, spent.Seconds()/gigabytes)
	return nil
}

// rtt is request and answer.
type rtt struct {
	name, work string
	conns      int
}

var rtts = []rtt{
	{"rtt-1", "64 bytes there and back, 1 connection", 1},
	{"rtt-32", "64 bytes there and back, 32 connections", 32},
}

func (k rtt) run(ctx context.Context, b *bench, p *peer.Pair) error {
	ask := load.Ask{Request: 64, Answer: 64}
	held := b.client(p).Hold()
	defer held.Close()
	if _, err := held.Grow(ctx, k.conns, ask, 10*time.Second); err != nil {
		return err
	}
	w, cpu := b.window(p)
	got, err := held.Ask(ctx, ask, w)
	if err != nil {
		return err
	}
	spent, err := cpu.elapsed()
	if err != nil {
		return err
	}
	if len(got.Times) == 0 {
		return fmt.Errorf("asking over %d connections: nothing was answered", k.conns)
	}
	b.add(k.name+".p50", p, micros(report.Percentile(got.Times, 50)))
	b.add(k.name+".p99", p, micros(report.Percentile(got.Times, 99)))
	b.add(k.name+".cpu", p, micros(spent)/float64(len(got.Times)))
	return nil
}

func micros(d time.Duration) float64 { return float64(d) / 1e3 }
