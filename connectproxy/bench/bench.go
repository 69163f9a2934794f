//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
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
	begun   string // what a person is told of the beginning
	commit  string

	// row and turn are what is being measured, and in which round.
	row  string
	turn int
	// finished are the rows of which every round was measured.
	finished []string
}

// measure does everything.
func measure(ctx context.Context, o options, out io.Writer) error {
	b := &bench{options: o, out: out}
	if o.write {
		return b.write()
	}
	var err error
	b.lab, err = peer.NewLab(ctx, o.connections, out)
	defer b.lab.Close()
	if err != nil {
		return err
	}
	if b.lab.Connections < o.connections && b.wants(heldRow.name) {
		b.printf("the hard limit of %d descriptors leaves a proxy %d connections, not %d", b.lab.HardLimit, b.lab.Connections, o.connections)
	}
	if err := b.start(ctx); err != nil {
		return err
	}
	b.announce(ctx)
	err = b.everything(ctx)
	if err != nil && o.keep == "" {
		return err
	}
	return errors.Join(err, b.publish(err == nil))
}

// everything measures all rows, and the sweep last.
func (b *bench) everything(ctx context.Context) error {
	for round := range b.options.rounds {
		if err := b.round(ctx, round); err != nil {
			return err
		}
	}
	if !b.wants(sweepName) {
		return nil
	}
	for round := range b.options.sweeps {
		b.turn = round
		b.printf("sweep %d/%d: 1 to %d connections", round+1, b.options.sweeps, b.lab.Connections)
		for _, p := range b.pairs {
			if p.Kind.Choice {
				continue
			}
			if err := b.try(ctx, sweepName, p, (*bench).sweep); err != nil {
				return err
			}
		}
	}
	b.finished = append(b.finished, sweepName)
	return nil
}

// start gets every pair going. Those that this machine lacks are said and left
// out; without ours there is nothing to compare.
func (b *bench) start(ctx context.Context) error {
	var peers []report.Peer
	for _, k := range b.options.kinds {
		if k.Name != peer.Ours && !b.takesPart(k) {
			continue
		}
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
			b.printf("without %s: %v", k.Name, err)
			continue
		}
		b.pairs = append(b.pairs, p)
		peers = append(peers, report.Peer{Name: k.Name, Version: p.Version, Reference: k.Reference, Variant: k.Variant})
	}
	b.figures = report.New(peer.Ours, peers)
	return nil
}

// takesPart reports whether any row that was asked for is for a kind.
func (b *bench) takesPart(k peer.Kind) bool {
	return b.wants(sweepName) && !k.Choice || slices.ContainsFunc(rows(), func(r row) bool { return b.wants(r.name) && r.suits(k) })
}

// announce says what is to come, and how long it will take.
func (b *bench) announce(ctx context.Context) {
	var total time.Duration
	for _, r := range rows() {
		for _, p := range b.pairs {
			if b.wants(r.name) && r.suits(p.Kind) {
				total += time.Duration(r.times(b.options)) * r.takes(b.options)
			}
		}
	}
	if b.wants(sweepName) {
		for _, p := range b.pairs {
			if !p.Kind.Choice {
				total += time.Duration(b.options.sweeps) * sweepTakes(b.options)
			}
		}
	}
	b.commit = b.lab.Commit(ctx)
	b.begun = fmt.Sprintf("%s, load average %s", time.Now().UTC().Format(time.DateOnly), proc.LoadAverage())
	b.printf("machine: %s", proc.ThisMachine())
	b.printf("%s before anything was measured", b.begun)
	b.printf("%d peers, %d rounds: about %s", len(b.pairs), b.options.rounds, total.Round(time.Second))
}

// round measures every row once, for each pair in turn. Who begins changes with
// the round.
func (b *bench) round(ctx context.Context, round int) error {
	b.turn = round
	for _, r := range rows() {
		if !b.wants(r.name) || round >= r.times(b.options) {
			continue
		}
		if err := b.measureRow(ctx, round, r); err != nil {
			return err
		}
		if b.progress(round, r); round == r.times(b.options)-1 {
			b.finished = append(b.finished, r.name)
		}
	}
	return nil
}

// measureRow measures a row once.
func (b *bench) measureRow(ctx context.Context, round int, r row) error {
	// Whoever is left out on the way is so from the next row on.
	pairs := slices.DeleteFunc(slices.Clone(b.pairs), func(p *peer.Pair) bool { return !r.suits(p.Kind) })
	if r.together != nil {
		b.row = r.name
		return r.together(ctx, b, pairs)
	}
	for i := range pairs {
		p := pairs[(i+round)%len(pairs)]
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
	return nil
}

// try measures one row for one pair. What goes wrong is noted and the pair gets
// new processes; only the end of ctx, or of our own pair, ends the run.
func (b *bench) try(ctx context.Context, name string, p *peer.Pair, do func(*bench, context.Context, *peer.Pair) error) error {
	b.row = name
	stop := p.Observe(ctx)
	err := do(b, ctx, p)
	stop()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		return nil
	}
	b.recordNote("%s: %v", p.Kind.Name, err)
	if err := p.Restart(ctx); err != nil {
		if p.Kind.Name == peer.Ours {
			return err
		}
		b.recordNote("%s is left out from here on: %v", p.Kind.Name, err)
		p.Stop()
		b.pairs = slices.DeleteFunc(slices.Clone(b.pairs), func(q *peer.Pair) bool { return q == p })
	}
	return nil
}

// progress says what the round found for a row.
func (b *bench) progress(round int, r row) {
	for _, m := range r.metrics {
		if m.Grid {
			continue // too many to read
		}
		var found []string
		for _, p := range b.pairs {
			if values := b.figures.Values[m.Key][p.Kind.Name]; len(values) > 0 {
				found = append(found, fmt.Sprintf("%s %.4g", p.Kind.Name, values[len(values)-1].Value))
			}
		}
		b.printf("round %d/%d, %s, %s: %s", round+1, b.options.rounds, m.Work, m.Unit, strings.Join(found, ", "))
	}
}

// wants reports whether a row was asked for.
func (b *bench) wants(name string) bool {
	return len(b.options.rows) == 0 || slices.Contains(b.options.rows, name)
}

// client is one of a pair.
func (b *bench) client(p *peer.Pair) *load.Client { return load.NewClient(p.Address(), sources()...) }

// sources are the addresses from which clients connect: a single one would run
// out of ports.
func sources() (ips []net.IP) {
	for last := byte(2); last < 10; last++ {
		ips = append(ips, net.IPv4(127, 0, 0, last))
	}
	return ips
}

func (b *bench) add(metric string, p *peer.Pair, value float64) {
	b.figures.Add(metric, p.Kind.Name, b.turn, value)
}

// recordNote keeps what did not work.
func (b *bench) recordNote(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	b.printf("note on %s: %s", b.row, text)
	b.figures.Note(b.row, text)
}

func (b *bench) printf(format string, args ...any) { fmt.Fprintf(b.out, format+"\n", args...) }
