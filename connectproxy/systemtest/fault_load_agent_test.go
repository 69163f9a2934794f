package systemtest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
)

const (
	// Each way gets a new connection this often, and each connection that stays
	// open a message this often.
	visitEvery = 50 * time.Millisecond
	talkEvery  = 50 * time.Millisecond
	// talkers is how many connections of each way stay open.
	talkers = 3
	// patience is longer than any timeout of a proxy here.
	patience = 45 * time.Second
	// unhurried is the timeout, in milliseconds, of what a machine with much else to
	// do may only be late with.
	unhurried = 20_000
)

// calmly are a proxy's settings, and patiently those of its upstreams, under which
// traffic is only late where the machine is.
func calmly(more map[string]any) map[string]any {
	config := map[string]any{"handshake_timeout_ms": unhurried, "local_connect_timeout_ms": unhurried}
	maps.Copy(config, more)
	return config
}

func patiently(more map[string]any) map[string]any {
	config := map[string]any{"connect_timeout_ms": unhurried}
	maps.Copy(config, more)
	return config
}

// way is one direction of traffic: what connects to the address is answered by
// the application of that name.
type way struct{ address, app string }

// load is steady traffic: new connections that exchange one line each, and
// connections that stay open and exchange numbered lines. Every answer is
// checked, and what happened is remembered.
type load struct {
	t    *testing.T
	ways []way
	stop func()

	mu     sync.Mutex // guards events
	events []event
}

// event is what became of one new connection, or of one line on an open one.
type event struct {
	at   time.Time // when it began
	way  way
	open bool
	took time.Duration
	err  error
}

func (e event) String() string {
	kind := "new connection"
	if e.open {
		kind = "open connection"
	}
	return fmt.Sprintf("%s: %s to %s after %s: %v", e.at.Format("15:04:05.000"), kind, e.way.app, e.took.Round(time.Millisecond), e.err)
}

// startLoad sends traffic until the test ends or stop is called.
func startLoad(t *testing.T, ways ...way) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{t: t, ways: ways}
	var all sync.WaitGroup
	for _, w := range ways {
		all.Go(func() { l.visits(ctx, w) })
		for range talkers {
			all.Go(func() { l.talks(ctx, w) })
		}
	}
	l.stop = func() { cancel(); all.Wait() }
	t.Cleanup(l.stop)
	return l
}

// visits makes new connections, whether or not the last one is done.
func (l *load) visits(ctx context.Context, w way) {
	var all sync.WaitGroup
	defer all.Wait()
	tick := time.NewTicker(visitEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		all.Go(func() {
			began := time.Now()
			err := visit(ctx, w, n)
			l.note(ctx, event{at: began, way: w, took: time.Since(began), err: err})
		})
	}
}

func visit(ctx context.Context, w way, n int) error {
	c, err := connect(ctx, w.address)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.says(w.app, n)
}

// talks keeps one connection open and busy. One that is lost is replaced.
func (l *load) talks(ctx context.Context, w way) {
	tick := time.NewTicker(talkEvery)
	defer tick.Stop()
	var c *client
	for n := 0; ; n++ {
		began := time.Now()
		var err error
		fresh := c == nil
		if fresh {
			c, err = connect(ctx, w.address)
		}
		if err == nil {
			err = c.says(w.app, n)
		}
		if !fresh {
			l.note(ctx, event{at: began, way: w, open: true, took: time.Since(began), err: err})
		}
		if err != nil && c != nil {
			c.Close()
			c = nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if c != nil {
				c.Close()
			}
			return
		}
	}
}

// connect dials; the connection ends with ctx.
func connect(ctx context.Context, address string) (*client, error) {
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &client{Conn: ending{conn, context.AfterFunc(ctx, func() { conn.Close() })}, r: bufio.NewReader(conn)}, nil
}

// ending is a connection that something else may close.
type ending struct {
	net.Conn
	release func() bool
}

func (e ending) Close() error {
	e.release()
	return e.Conn.Close()
}

// says sends a number, which the application of that name must send back.
func (c *client) says(app string, n int) error {
	_ = c.SetDeadline(time.Now().Add(patience))
	line := fmt.Sprintf("message %d\n", n)
	if _, err := io.WriteString(c, line); err != nil {
		return err
	}
	got, err := c.r.ReadString('\n')
	if err == nil && got != app+" "+line {
		err = fmt.Errorf("%q came back for %q", got, line)
	}
	return err
}

func (l *load) note(ctx context.Context, e event) {
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

// since is what has happened to what began at that time or later.
func (l *load) since(from time.Time) []event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.events), func(e event) bool { return e.at.Before(from) })
}

// flows waits until n new connections of each way, begun from now on, have been
// made, and as many lines answered on open ones.
func (l *load) flows(n int) {
	l.t.Helper()
	from := time.Now()
	agenttest.Eventually(l.t, 2*soon, func() error {
		type kind struct {
			way  way
			open bool
		}
		counts := map[kind]int{}
		for _, e := range l.since(from) {
			if e.err == nil {
				counts[kind{e.way, e.open}]++
			}
		}
		for _, w := range l.ways {
			if counts[kind{w, false}] < n || counts[kind{w, true}] < n {
				return fmt.Errorf("%d new connections to %s were answered and %d lines on open ones, not %d",
					counts[kind{w, false}], w.app, counts[kind{w, true}], n)
			}
		}
		return nil
	})
}

// outcome is what the users of a way saw.
type outcome struct {
	visits, lines             int
	lost, refused             []event
	slowestVisit, slowestLine time.Duration
}

func (l *load) outcome(from time.Time) outcome {
	var o outcome
	for _, e := range l.since(from) {
		switch {
		case e.err != nil && e.open:
			o.lost = append(o.lost, e)
		case e.err != nil:
			o.refused = append(o.refused, e)
		case e.open:
			o.lines++
			o.slowestLine = max(o.slowestLine, e.took)
		default:
			o.visits++
			o.slowestVisit = max(o.slowestVisit, e.took)
		}
	}
	return o
}

func (o outcome) String() string {
	return fmt.Sprintf("%d new connections (slowest %s, %d failed), %d lines on open ones (slowest %s, %d lost)",
		o.visits, o.slowestVisit.Round(time.Millisecond), len(o.refused), o.lines, o.slowestLine.Round(time.Millisecond), len(o.lost))
}

// unharmed fails the test if anything has failed since then.
func (l *load) unharmed(from time.Time) {
	l.t.Helper()
	o := l.outcome(from)
	l.t.Log(o)
	if o.visits == 0 || o.lines == 0 {
		l.t.Error("there was no traffic")
	}
	complain(l.t, o.lost)
	complain(l.t, o.refused)
}

// kept fails the test if an open connection has been lost since then.
func (l *load) kept(from time.Time) {
	l.t.Helper()
	o := l.outcome(from)
	l.t.Log(o)
	if o.lines == 0 {
		l.t.Error("there was no traffic")
	}
	complain(l.t, o.lost)
}

func complain(t *testing.T, failed []event) {
	t.Helper()
	if len(failed) == 0 {
		return
	}
	var text []string
	for _, e := range failed[:min(len(failed), 5)] {
		text = append(text, e.String())
	}
	t.Errorf("%d failed, such as:\n%s", len(failed), strings.Join(text, "\n"))
}
