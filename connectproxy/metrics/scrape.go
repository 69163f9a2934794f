package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"connect-proxy/listener"
)

// Handler serves the metrics in the formats of Prometheus: its text format, or
// OpenMetrics where the request accepts it. It is safe for concurrent use. An answer
// may take 5 seconds to be made and 10 to be read. Four are under way at a time for
// this machine and four for all others, of which each has two; further ones wait for
// eight seconds and get status 503 then, or at once where their client waits already.
// While any wait, an answer is cut off after two seconds. So scrapers that are slow,
// or many, hold little of the process, and keep nobody out. notRead is told of answers
// that were given up, by their path, and why; it must be safe for concurrent use and
// may be nil.
func (m *Metrics) Handler(notRead func(page, problem string)) http.Handler {
	if notRead == nil {
		notRead = func(string, string) {}
	}
	h := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling:     promhttp.ContinueOnError,
		Timeout:           gatherTimeout,
		EnableOpenMetrics: true,
		Registry:          m.registry,
	})
	own, others := newPlaces(maxScrapes, 0, scrapeTurn), newPlaces(maxScrapes, maxScrapesOfClient, scrapeTurn)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		places := own
		client, here := scraperOf(r)
		if !here {
			places = others
		}
		control := http.NewResponseController(w)
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		leave := places.take(ctx, client, func() { _ = control.SetWriteDeadline(time.Now()) })
		if leave == nil {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				notRead(r.URL.Path, "those that are made at a time are asked for by others, who do not read them")
			}
			http.Error(w, "too many answers are under way: ask again later", http.StatusServiceUnavailable)
			return
		}
		// An error says that it is not a connection's.
		_ = control.SetWriteDeadline(time.Now().Add(m.writeTimeout))
		err := func() error {
			defer leave()
			h.ServeHTTP(w, r)
			return control.Flush()
		}()
		switch {
		case err == nil: // the next answer has its own time
			_ = control.SetWriteDeadline(time.Time{})
		case errors.Is(err, os.ErrDeadlineExceeded):
			notRead(r.URL.Path, fmt.Sprintf("its client did not take it within %s, or %s while others wait", m.writeTimeout, scrapeTurn))
		}
	})
}

// scraperOf returns who asks, and whether that is this machine.
func scraperOf(r *http.Request) (client netip.Addr, here bool) {
	far, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return client, true
	}
	ip := far.Addr().Unmap()
	near, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	here = ip.IsLoopback() || ok && near.AddrPort().Addr().Unmap() == ip
	return listener.SourceOf(net.TCPAddrFromAddrPort(far)), here
}
