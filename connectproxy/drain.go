package connectproxy

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// quiet is for how long there must be no outbound connection until the
	// application counts as done: one that works its way through several makes
	// the next one well within it.
	quiet      = 200 * time.Millisecond
	quietCheck = 50 * time.Millisecond
)

// drain lets the work under way finish. Inbound connections are waited for
// first, and upstream listeners go on accepting meanwhile, since the
// application needs its upstreams to answer; then they wait for the outbound
// ones. What is left when the time is up is cut, and still waited for.
func (l *loop) drain(base context.Context) {
	timeout, start := l.drainTimeout(), time.Now()
	l.draining = true
	l.publish()
	l.wakeRegistrar() // the check turns critical before connections are refused
	inbound, outbound := l.byRole()
	l.logger.Info("draining", "inbound", liveConnections(inbound), "outbound", liveConnections(outbound), "timeout", timeout.String())

	ctx, cancel := context.WithTimeout(base, timeout)
	defer cancel()
	var left atomic.Int64 // what was open when the time was up
	counted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(counted)
		left.Store(int64(liveConnections(inbound) + liveConnections(outbound)))
	})
	l.micro.CloseEvents()
	clean := drainAll(ctx, inbound)
	// To tell clients of the end takes time where they take nothing, and is over when
	// all connections are, at the latest.
	var farewells sync.WaitGroup
	defer farewells.Wait()
	for _, closeIdle := range []func(){l.byName.CloseIdle, l.micro.CloseIdle, l.public.CloseIdle} {
		farewells.Go(closeIdle)
	}
	untilQuiet(ctx, outbound)
	clean = drainAll(ctx, outbound) && clean
	if !stop() {
		<-counted
	}
	took := time.Since(start).Round(time.Millisecond)
	if clean {
		l.logger.Info("drained", "duration", took.String())
		return
	}
	l.logger.Warn("time to drain is up; open connections were cut", "connections", left.Load(), "duration", took.String())
}

// byRole lists every listener that may have connections.
func (l *loop) byRole() (inbound, outbound []*boundListener) {
	for _, b := range l.all() {
		if b.public() {
			inbound = append(inbound, b)
		} else {
			outbound = append(outbound, b)
		}
	}
	return inbound, outbound
}

// drainAll drains the listeners at once and reports whether all their connections
// ended by themselves.
func drainAll(ctx context.Context, listeners []*boundListener) bool {
	var wg sync.WaitGroup
	var cut atomic.Bool
	for _, b := range listeners {
		wg.Go(func() {
			if !b.drain(ctx) {
				cut.Store(true)
			}
		})
	}
	wg.Wait()
	return !cut.Load()
}

// untilQuiet returns when the listeners have had no connection for a while, or
// when ctx is done.
func untilQuiet(ctx context.Context, listeners []*boundListener) {
	if len(listeners) == 0 {
		return
	}
	tick := time.NewTicker(quietCheck)
	defer tick.Stop()
	since := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch now := time.Now(); {
		case liveConnections(listeners) > 0:
			since = now
		case now.Sub(since) >= quiet:
			return
		}
	}
}

func liveConnections(listeners []*boundListener) int {
	n := 0
	for _, b := range listeners {
		n += b.live()
	}
	return n
}
