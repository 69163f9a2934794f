//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"connect-proxy/connectproxy/bench/load"
	"connect-proxy/connectproxy/bench/peer"
	"connect-proxy/connectproxy/bench/report"
)

// besides are the numbers of busy connections beside which quiet ones ask, with
// what is to be reached then, in milliseconds.
var besides = []struct {
	busy     int
	p50, p99 float64
}{{busy: 0}, {1, 0.35, 3}, {8, 1, 8}, {32, 2, 15}}

// busyCounts are those numbers but zero.
func busyCounts() (counts []int) {
	for _, k := range besides {
		if k.busy > 0 {
			counts = append(counts, k.busy)
		}
	}
	return counts
}

// quietConns is how many quiet connections there are.
const quietConns = 2

func quietName(busy int) string { return "quiet-" + strconv.Itoa(busy) }

// quietRows measure connections that ask for little beside others that download
// without pause.
func quietRows() (rows []row) {
	takes := func(o options) time.Duration { return o.window + 2*warm + 150*time.Millisecond }
	for _, k := range besides {
		name, work := quietName(k.busy), fmt.Sprintf("64 bytes there and back, %d connections, beside %d that download", quietConns, k.busy)
		r := row{name: name, takes: takes, run: func(ctx context.Context, b *bench, p *peer.Pair) error {
			return quiet(ctx, b, p, name, k.busy)
		}}
		r.metrics = []report.Metric{
			{Key: name + ".p50", Work: work, Unit: "p50 ms", Target: report.Target{Limited: k.busy > 0, Limit: k.p50}},
			{Key: name + ".p99", Work: work, Unit: "p99 ms", Target: report.Target{Limited: k.busy > 0, Limit: k.p99}},
		}
		if k.busy > 0 {
			r.metrics = append(r.metrics, report.Metric{Key: name + ".rate", Work: work, Unit: "Gbit/s of the downloads", More: true})
		}
		rows = append(rows, r)
	}
	const work = "a new connection beside 1 that downloads"
	return append(rows, row{name: "new-beside-1", takes: takes, run: newBeside, metrics: []report.Metric{
		{Key: "new-beside-1.p50", Work: work, Unit: "p50 ms", Target: report.Target{Limited: true, Limit: 2}},
		{Key: "new-beside-1.p99", Work: work, Unit: "p99 ms", Target: report.Target{Limited: true, Limit: 6}},
		{Key: "new-beside-1.rate", Work: work, Unit: "Gbit/s of the download", More: true},
	}})
}

// quiet asks over few connections beside so many busy ones.
func quiet(ctx context.Context, b *bench, p *peer.Pair, name string, busy int) error {
	ask := load.Ask{Request: 64, Answer: 64}
	held := b.client(p).Hold()
	defer held.Close()
	if _, err := held.Grow(ctx, quietConns, ask, 10*time.Second); err != nil {
		return err
	}
	return b.beside(ctx, p, name, busy, func(w load.Window) ([]time.Duration, error) {
		got, err := held.Ask(ctx, ask, w)
		return got.Times, err
	})
}

// newBeside opens one connection after the other beside a busy one.
func newBeside(ctx context.Context, b *bench, p *peer.Pair) error {
	return b.beside(ctx, p, "new-beside-1", 1, func(w load.Window) ([]time.Duration, error) {
		got, err := b.client(p).Visit(ctx, 1, w)
		return got.Times, err
	})
}

// beside does work while so many connections download, and adds its times and
// their rate.
func (b *bench) beside(ctx context.Context, p *peer.Pair, name string, busy int, work func(load.Window) ([]time.Duration, error)) error {
	w := load.Window{Warm: warm, For: b.options.window, Mark: func() {}}
	rate := func() (float64, error) { return 0, nil }
	if busy > 0 {
		var err error
		if rate, err = download(ctx, p, busy, w); err != nil {
			return err
		}
	}
	times, err := work(w)
	got, rateErr := rate()
	if err = errors.Join(err, rateErr); err != nil {
		return err
	}
	if len(times) == 0 {
		return fmt.Errorf("asking beside %d connections that download: nothing was answered", busy)
	}
	b.add(name+".p50", p, micros(report.Percentile(times, 50))/1e3)
	b.add(name+".p99", p, micros(report.Percentile(times, 99))/1e3)
	if busy > 0 {
		b.add(name+".rate", p, got)
	}
	return nil
}

// downloadCommand is the argument with which this program downloads; address,
// connections and the window's two lengths follow.
const downloadCommand = "download"

// download begins to download in a process of its own: in this one, what is to
// be measured would wait for Go's scheduler. It returns what waits for the
// process and gives its rate in Gbit/s.
func download(ctx context.Context, p *peer.Pair, conns int, w load.Window) (rate func() (float64, error), _ error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	// One that ends last leaves nobody asking alone.
	cmd := exec.CommandContext(ctx, self, downloadCommand, p.Address(), strconv.Itoa(conns), w.Warm.String(), (w.For + w.Warm).String())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("starting the downloads: %w", err)
	}
	return func() (float64, error) {
		var got load.Bulk
		decoding := json.NewDecoder(out).Decode(&got)
		if err := errors.Join(cmd.Wait(), decoding); err != nil {
			return 0, fmt.Errorf("downloading over %d connections: %w", conns, err)
		}
		return float64(got.Bytes) * 8 / 1e9 / got.Took.Seconds(), nil
	}, nil
}

// runDownload is what that process does.
func runDownload(ctx context.Context, args []string, out io.Writer) error {
	if len(args) != 4 {
		return fmt.Errorf("downloading takes 4 arguments, not %d", len(args))
	}
	conns, err := strconv.Atoi(args[1])
	w := load.Window{Mark: func() {}}
	if err == nil {
		w.Warm, err = time.ParseDuration(args[2])
	}
	if err == nil {
		w.For, err = time.ParseDuration(args[3])
	}
	if err != nil {
		return fmt.Errorf("reading what to download: %w", err)
	}
	got, err := load.NewClient(args[0]).Transfer(ctx, conns, false, w)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(got)
}
