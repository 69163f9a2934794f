package connectproxy

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"connect-proxy/config"
)

const (
	// quiet is for how long there must be no outbound connection until the
	// application counts as done: one that works its way through several makes
	// the next one well within it.
	quiet      = 200 * time.Millisecond
	quietCheck = 50 * time.Millisecond
)

// drainTimeout is how long connections are waited for at exit.
func (p *Proxy) drainTimeout() time.Duration {
	if p.o.DrainTimeout > 0 {
		return p.o.DrainTimeout
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.config == nil || p.config.DrainTimeout <= 0 {
		return config.DefaultDrainTimeout
	}
	return p.config.DrainTimeout
}

// drain lets the work under way finish. Inbound connections are waited for
// first, and upstream listeners go on accepting meanwhile, since the
// application needs its upstreams to answer; then they wait for the outbound
// ones. What is left when the time is up is cut, and still waited for.
func (p *Proxy) drain(base context.Context) {
	timeout, start := p.drainTimeout(), time.Now()
	p.mu.Lock()
	p.draining = true
	p.mu.Unlock()
	p.poke() // the check turns critical before connections are refused
	inbound, outbound := p.byRole()
	p.logger.Info("draining", "inbound", live(inbound), "outbound", live(outbound), "timeout", timeout.String())

	ctx, cancel := context.WithTimeout(base, timeout)
	defer cancel()
	var left atomic.Int64 // what was open when the time was up
	counted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(counted)
		left.Store(int64(live(inbound) + live(outbound)))
	})
	clean := drainAll(ctx, inbound)
	untilQuiet(ctx, outbound)
	clean = drainAll(ctx, outbound) && clean
	if !stop() {
		<-counted
	}
	took := time.Since(start).Round(time.Millisecond)
	if clean {
		p.logger.Info("drained", "duration", took.String())
		return
	}
	p.logger.Warn("time to drain is up; open connections were cut", "connections", left.Load(), "duration", took.String())
}

// byRole lists every listener that may have connections.
func (p *Proxy) byRole() (inbound, outbound []*member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	add := func(m *member) {
		if m.wants().key.role == rolePublic {
			inbound = append(inbound, m)
		} else {
			outbound = append(outbound, m)
		}
	}
	for _, m := range p.members {
		add(m)
	}
	for _, m := range p.leaving {
		add(m)
	}
	return inbound, outbound
}

// drainAll drains the members at once and says whether all their connections
// ended by themselves.
func drainAll(ctx context.Context, members []*member) bool {
	var wg sync.WaitGroup
	var cut atomic.Bool
	for _, m := range members {
		wg.Go(func() {
			if !m.drain(ctx) {
				cut.Store(true)
			}
		})
	}
	wg.Wait()
	return !cut.Load()
}

// untilQuiet returns when the members have had no connection for a while, or
// when ctx is done.
func untilQuiet(ctx context.Context, members []*member) {
	if len(members) == 0 {
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
		case live(members) > 0:
			since = now
		case now.Sub(since) >= quiet:
			return
		}
	}
}

func live(members []*member) int {
	n := 0
	for _, m := range members {
		n += m.live()
	}
	return n
}
