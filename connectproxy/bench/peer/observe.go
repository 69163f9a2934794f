//go:build linux

package peer

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"
)

// ScrapeEvery is how often the metrics of an observed pair are asked for.
const ScrapeEvery = time.Second

// observed are the arguments of a proxy of which everything is recorded.
func (l *Lab) observed(service string) []string {
	return []string{"-access-log", "all", "-admin-addr", "unix:" + l.socket(service)}
}

func (l *Lab) socket(service string) string { return filepath.Join(l.Dir, service+".sock") }

// Observe asks both proxies of an observed pair for their metrics, as a Prometheus
// does, until stop is called. Of other pairs it asks nothing.
func (p *Pair) Observe(ctx context.Context) (stop func()) {
	if !p.Kind.Observed {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	client, server := services(p.Kind.service)
	for _, socket := range []string{p.lab.socket(server), p.lab.socket(client)} {
		asking.Go(func() { scrape(ctx, socket) })
	}
	return func() { cancel(); asking.Wait() }
}

// scrape asks one proxy until ctx is done. What it answers is read and forgotten.
func scrape(ctx context.Context, socket string) {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	tick := time.NewTicker(ScrapeEvery)
	defer tick.Stop()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/metrics", nil)
		if err != nil {
			return
		}
		r.Header.Set("Accept", "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3")
		r.Header.Set("Accept-Encoding", "gzip")
		if resp, err := transport.RoundTrip(r); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
