//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"connect-proxy/connectproxy/bench/load"
	"connect-proxy/connectproxy/bench/peer"
	"connect-proxy/connectproxy/bench/proc"
	"connect-proxy/connectproxy/bench/report"
)

// bench is one run.
type bench struct {
	options options
	out     io.Writer
	lab     *peer.Lab
	pairs   []*peer.Pair
	figures *report.Figures
	about   []string
}

// measure does everything.
func measure(ctx context.Context, o options, out io.Writer) error {
	b := &bench{options: o, out: out}
	var err error
	b.lab, err = peer.NewLab(ctx, o.connections, out)
	defer b.lab.Close()
	if err != nil {
		return err
	}
	if b.lab.Connections < o.connections {
		b.say("the hard limit of %d descriptors leaves a proxy %d connections, not %d", b.lab.HardLimit, b.lab.Connections, o.connections)
	}
	if err := b.start(ctx); err != nil {
		return err
	}
	b.announce()
	for round := range o.rounds {
		if err := b.round(ctx, round); err != nil {
			return err
		}
	}
	for round := range o.sweeps {
		if !b.wants(sweepName) {
			break
		}
		b.say("sweep %d/%d: 1 to %d connections", round+1, o.sweeps, b.lab.Connections)
		for _, p := range b.pairs {
			if err := b.try(ctx, sweepName, p, (*bench).sweep); err != nil {
				return err
			}
		}
	}
	return b.publish()
}

// start gets every pair going. Those that this machine lacks are said and left
// out; without ours there is nothing to compare.
func (b *bench) start(ctx context.Context) error {
	var peers []report.Peer
	for _, k := range b.options.kinds {
		p, err := b.lab.Prepare(ctx, k)
		if err == nil {
			err = p.Start(ctx)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && k.Name == peer.Ours {
			return err
		}
		if err != nil {
			b.say("without %s: %v", k.Name, err)
			continue
		}
		b.pairs = append(b.pairs, p)
		peers = append(peers, report.Peer{Name: k.Name, Version: p.Version, Reference: k.Reference})
	}
	b.figures = report.New(peer.Ours, peers)
	return nil
}

// announce says what is to come, and how long it will take.
func (b *bench) announce() {
	var total time.Duration
	for _, r := range rows() {
		for _, p := range b.pairs {
			if b.wants(r.name) && (r.fits == nil || r.fits(p.Kind)) {
				total += time.Duration(b.options.rounds) * r.takes(b.options)
			}
		}
	}
	if b.wants(sweepName) {
		total += time.Duration(b.options.sweeps*len(b.pairs)) * sweepTakes(b.options)
	}
	b.about = []string{
		"machine: " + proc.ThisMachine().String(),
		fmt.Sprintf("run: %d rounds, each load measured for %s, %s, load average %s before it began",
			b.options.rounds, b.options.window, time.Now().UTC().Format(time.DateOnly), proc.LoadAverage()),
	}
	if b.lab.Connections < b.options.connections {
		b.about = append(b.about, fmt.Sprintf("at most %d connections: a process has a hard limit of %d descriptors there, and a proxy needs two a connection",
			b.lab.Connections, b.lab.HardLimit))
	}
	for _, line := range b.about {
		b.say("%s", line)
	}
	b.say("%d peers, %d rounds: about %s", len(b.pairs), b.options.rounds, total.Round(time.Second))
}

// round measures every row once, for each pair in turn. Who begins changes with
// the round.
func (b *bench) round(ctx context.Context, round int) error {
	for _, r := range rows() {
		if !b.wants(r.name) {
			continue
		}
		for i := range b.pairs {
			p := b.pairs[(i+round)%len(b.pairs)]
			if r.fits != nil && !r.fits(p.Kind) {
				continue
			}
			err := b.try(ctx, r.name, p, func(b *bench, ctx context.Context, p *peer.Pair) error {
				if r.fresh {
					if err := p.Restart(ctx); err != nil {
						return err
					}
				}
				return r.run(ctx, b, p)
			})
			if err != nil {
				return err
			}
		}
		b.progress(round, r)
	}
	return nil
}

// try measures one row for one pair. What goes wrong is noted and the pair gets
// new processes; only the end of ctx, or of our own pair, ends the run.
func (b *bench) try(ctx context.Context, name string, p *peer.Pair, do func(*bench, context.Context, *peer.Pair) error) error {
	err := do(b, ctx, p)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		return nil
	}
	b.note("%s, %s: %v", p.Kind.Name, name, err)
	if err := p.Restart(ctx); err != nil {
		if p.Kind.Name == peer.Ours {
			return err
		}
		b.note("%s is left out from here on: %v", p.Kind.Name, err)
		p.Stop()
		b.pairs = slices.DeleteFunc(slices.Clone(b.pairs), func(q *peer.Pair) bool { return q == p })
	}
	return nil
}

// progress says what the round found for a row.
func (b *bench) progress(round int, r row) {
	for _, m := range r.metrics {
		var found []string
		for _, p := range b.pairs {
			if values := b.figures.Values[m.Key][p.Kind.Name]; len(values) > 0 {
				found = append(found, fmt.Sprintf("%s %.4g", p.Kind.Name, values[len(values)-1]))
			}
		}
		b.say("round %d/%d, %s, %s: %s", round+1, b.options.rounds, m.Work, m.Unit, strings.Join(found, ", "))
	}
}

// publish prints the report and writes what is wanted of it.
func (b *bench) publish() error {
	b.about = append(b.about, "load average at the end: "+proc.LoadAverage())
	b.say("\n%s\n%s", b.figures.Targets(metrics()), b.figures.All(metrics()))
	for _, note := range b.figures.Notes {
		b.say("note: %s", note)
	}
	var errs []error
	if b.options.raw != "" {
		errs = append(errs, b.writeRaw())
	}
	if b.options.docs != "" {
		docs := filepath.Join(b.lab.Root, b.options.docs)
		plots, err := b.draw(docs)
		errs = append(errs, err, report.RewriteFile(filepath.Join(docs, "performance.md"), b.figures.Section(metrics(), b.about, plots)))
	}
	return errors.Join(errs...)
}

// writeRaw keeps every figure, and the plots where the run did a sweep.
func (b *bench) writeRaw() error {
	text, err := json.MarshalIndent(map[string]any{"about": b.about, "figures": b.figures}, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the figures: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(b.options.raw), 0o755); err != nil {
		return fmt.Errorf("making room for the figures: %w", err)
	}
	if err := os.WriteFile(b.options.raw, text, 0o644); err != nil {
		return fmt.Errorf("writing the figures: %w", err)
	}
	_, err = b.draw(filepath.Dir(b.options.raw))
	return err
}

// wants says whether a row was asked for.
func (b *bench) wants(name string) bool {
	return len(b.options.rows) == 0 || slices.Contains(b.options.rows, name)
}

// client is one whose connections come from eight addresses: those of a single
// one would run out of ports.
func (b *bench) client(p *peer.Pair) *load.Client {
	var sources []net.IP
	for last := byte(2); last < 10; last++ {
		sources = append(sources, net.IPv4(127, 0, 0, last))
	}
	return load.NewClient(p.Address(), sources...)
}

func (b *bench) add(metric string, p *peer.Pair, value float64) {
	b.figures.Add(metric, p.Kind.Name, value)
}

// note keeps what did not work.
func (b *bench) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	b.say("note: %s", text)
	if !slices.Contains(b.figures.Notes, text) {
		b.figures.Notes = append(b.figures.Notes, text)
	}
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.out, format+"\n", args...) }
