package metrics

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"connect-proxy/listener"
	"connect-proxy/listener/relay"
)

// ListenerCounts counts the connections of one listener. It is safe for concurrent
// use.
type ListenerCounts struct {
	m         *Metrics
	direction Direction
	to        Destination
	// latest spares connections of one peer after another looking it up.
	latest atomic.Pointer[peerTally]
}

// peerTally is what is counted for a peer, which stays the same.
type peerTally struct {
	peer  string
	tally *tally
}

func (l *ListenerCounts) tally(peer string) *tally {
	if latest := l.latest.Load(); latest != nil && latest.peer == peer {
		return latest.tally
	}
	n := l.m.tally(l.direction, l.to, peer)
	l.latest.Store(&peerTally{peer, n})
	return n
}

// Listener returns what counts the connections of a listener that lead to to. Two
// with equal arguments count into the same series.
func (m *Metrics) Listener(d Direction, to Destination) *ListenerCounts {
	return &ListenerCounts{m: m, direction: d, to: to}
}

// tally is what is counted for a series.
type tally struct {
	series          series
	opened, revoked atomic.Uint64
	active          atomic.Int64
	// closed has every connection that ended, closedUnopened those among them
	// that were never relayed.
	closed, closedUnopened []atomic.Uint64 // by reason
	bytes                  relay.Counters
	// dial and duration return the histograms of the series, which are there from
	// the first call on.
	dial, duration func() prometheus.Observer
}

// reasons are all those that a connection can end for.
var reasons = listener.Reasons()

func (m *Metrics) newTally(s series) *tally {
	n := len(reasons) + 1
	of := func(h *prometheus.HistogramVec) func() prometheus.Observer {
		return sync.OnceValue(func() prometheus.Observer {
			return h.WithLabelValues(string(s.direction), s.destination())
		})
	}
	return &tally{
		series: s, closed: make([]atomic.Uint64, n), closedUnopened: make([]atomic.Uint64, n),
		dial: of(m.dialDuration), duration: of(m.connectionDuration),
	}
}

// Counters returns what is to count the bytes of a connection while it is open.
// Connections of one series share it; the relay adds to it atomically.
func (l *ListenerCounts) Counters(c Opened) *relay.Counters {
	return &l.tally(c.Peer).bytes
}

// Opened notes a connection that starts to be relayed. It is called once for each
// that does, before Closed with the same ID.
func (l *ListenerCounts) Opened(c Opened) {
	t := l.m.traffic
	n := l.tally(c.Peer)
	n.opened.Add(1)
	n.active.Add(1)
	t.mu.Lock()
	t.open[c.ID] = n
	t.mu.Unlock()
	if l.direction == Inbound {
		l.shookHands(c)
	}
	if c.Dial > 0 {
		n.dial().Observe(c.Dial.Seconds())
	}
}

// Closed notes the end of a connection. It is called once for each, also for one
// that was refused and never opened.
func (l *ListenerCounts) Closed(e Ended) {
	t := l.m.traffic
	t.mu.Lock()
	n, opened := t.open[e.ID]
	delete(t.open, e.ID)
	t.mu.Unlock()
	latest := l.tally(e.Peer)
	if opened {
		n.active.Add(-1)
		latest.duration().Observe(e.Duration.Seconds())
	} else {
		n = latest
		n.closedUnopened[e.Reason].Add(1)
		l.refused(e)
	}
	n.closed[e.Reason].Add(1)
	if opened && e.Reason == listener.ReasonIntentionRevoked {
		n.revoked.Add(1)
	}
}

// refused counts how far a connection got that was not relayed.
func (l *ListenerCounts) refused(e Ended) {
	if l.direction != Inbound {
		return
	}
	if e.Peer == "" {
		if result, ok := handshakeResults[e.Reason]; ok {
			l.m.handshakes.WithLabelValues(string(Inbound), result, "false", "").Inc()
		}
		return
	}
	l.shookHands(e.Opened)
}

// AcceptFailed notes an attempt to accept that failed. The error is not looked at.
func (l *ListenerCounts) AcceptFailed(error) {
	if l.direction == Inbound {
		l.m.acceptErrors.inbound.Add(1)
		return
	}
	l.m.acceptErrors.outbound.Add(1)
}

// handshakeResults are the reasons of connections whose handshake did not
// succeed. One that was cut for another reason tells nothing of it.
var handshakeResults = map[listener.Reason]string{
	listener.ReasonHandshakeFailed:  "failed",
	listener.ReasonHandshakeTimeout: "timeout",
	listener.ReasonHandshakeEvicted: "evicted",
	listener.ReasonSilent:           "silent",
}

// shookHands counts a client's handshake that succeeded.
func (l *ListenerCounts) shookHands(c Opened) { l.m.shookHands(l.direction, c) }

// Dialled notes what a TLS handshake with an instance came to: err is nil for one
// that succeeded. Of c only Handshake, TLSVersion and Resumed are used. A
// handshake that was cancelled is not counted.
func (m *Metrics) Dialled(c Opened, err error) {
	switch {
	case err == nil:
		m.shookHands(Outbound, c)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		m.handshakes.WithLabelValues(string(Outbound), "timeout", "false", "").Inc()
	case !errors.Is(err, context.Canceled): // of one that was given up nothing is known
		m.handshakes.WithLabelValues(string(Outbound), "failed", "false", "").Inc()
	}
}

func (m *Metrics) shookHands(d Direction, c Opened) {
	resumed := strconv.FormatBool(c.Resumed)
	m.handshakes.WithLabelValues(string(d), "ok", resumed, versionName(c.TLSVersion)).Inc()
	if c.Handshake > 0 {
		m.handshakeDuration.WithLabelValues(string(d), resumed).Observe(c.Handshake.Seconds())
	}
}

func versionName(v uint16) string {
	switch v {
	case tls.VersionTLS12:
		return "1.2"
	case tls.VersionTLS13:
		return "1.3"
	}
	return ""
}
