package devagent

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// A probe that has found nothing yet looks again after a share of the time
	// that it has looked for, at least leastRetry and at most its interval. A
	// real agent waits an interval.
	leastRetry = 10 * time.Millisecond
	retryShare = 8
	// maxOutputRead is how much of an answer is read for what the check says.
	maxOutputRead = 4 << 10
)

// probe is how the agent looks itself whether a service is well.
type probe struct {
	tcp, http, method string
	header            map[string][]string
	interval, timeout time.Duration
}

// prober makes the probes of all checks, each on a goroutine of its own, while
// it runs.
type prober struct {
	// report is told what a probe found.
	report func(id string, p *probe, status, output string)

	mu     sync.Mutex
	wanted map[string]*probe
	stop   map[string]context.CancelFunc
	// start begins to probe; nil while it does not run.
	start func(id string, how *probe)
	done  sync.WaitGroup
}

// set has a check probed from now on, or no longer with nil.
func (p *prober) set(id string, how *probe) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wanted == nil {
		p.wanted, p.stop = map[string]*probe{}, map[string]context.CancelFunc{}
	}
	if stop := p.stop[id]; stop != nil {
		stop()
		delete(p.stop, id)
	}
	if how == nil {
		delete(p.wanted, id)
		return
	}
	p.wanted[id] = how
	if p.start != nil {
		p.start(id, how)
	}
}

// run probes until ctx is done.
func (p *prober) run(ctx context.Context) {
	p.mu.Lock()
	p.start = func(id string, how *probe) { // the caller holds mu
		one, cancel := context.WithCancel(ctx)
		p.stop[id] = cancel
		p.done.Go(func() { p.follow(one, id, how) })
	}
	for id, how := range p.wanted {
		p.start(id, how)
	}
	p.mu.Unlock()
	<-ctx.Done()
	p.mu.Lock()
	p.start = nil
	for id, stop := range p.stop {
		stop()
		delete(p.stop, id)
	}
	p.mu.Unlock()
	p.done.Wait()
}

// follow probes one check until ctx is done.
func (p *prober) follow(ctx context.Context, id string, how *probe) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	failing := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		status, output := how.attempt(ctx)
		if ctx.Err() != nil {
			return
		}
		p.report(id, how, status, output)
		if status == passing {
			failing = time.Now()
			timer.Reset(how.interval)
			continue
		}
		timer.Reset(min(max(time.Since(failing)/retryShare, leastRetry), how.interval))
	}
}

// attempt makes the probe once.
func (p *probe) attempt(ctx context.Context) (status, output string) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	if p.tcp != "" {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.tcp)
		if err != nil {
			return critical, err.Error()
		}
		conn.Close()
		return passing, "TCP connect " + p.tcp + ": Success"
	}
	return p.fetch(ctx)
}

func (p *probe) fetch(ctx context.Context) (status, output string) {
	req, err := http.NewRequestWithContext(ctx, p.method, p.http, nil)
	if err != nil {
		return critical, err.Error()
	}
	for name, values := range p.header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return critical, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxOutputRead)) // what came is said
	output = fmt.Sprintf("HTTP %s %s: %s Output: %s", p.method, p.http, resp.Status, body)
	switch {
	case resp.StatusCode/100 == 2:
		return passing, output
	case resp.StatusCode == http.StatusTooManyRequests:
		return warning, output
	}
	return critical, output
}
