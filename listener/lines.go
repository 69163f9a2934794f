package listener

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Lines a second for each reason, and how many may come at once. Clients that
// were served get room for what an operator may want to follow; refusals are
// something that strangers can cause at will, for ever.
const (
	servedRate, servedBurst   = 100, 500
	refusedRate, refusedBurst = 1, 20
)

// lines writes one line for each connection that has ended, as far as the
// reason's rate allows; the next line says how many were left out.
type lines struct {
	mu     sync.Mutex
	bucket [reasonCount]bucket
}

type bucket struct {
	tokens     float64
	last       time.Time
	suppressed int
}

// closed tells of one connection. At debug level nothing is left out.
func (w *lines) closed(log hclog.Logger, s *Summary) {
	level, wanted := levelOf(log, s)
	if !wanted {
		return
	}
	suppressed, ok := 0, true
	if !log.IsDebug() {
		suppressed, ok = w.take(s)
	}
	if !ok {
		return
	}
	message := "connection closed"
	if !s.Relayed {
		message = "connection refused"
	}
	args := make([]any, 0, 20)
	args = append(args, "reason", s.Reason.String(), "client", s.Client.String())
	if s.Peer != "" {
		args = append(args, "peer", s.Peer)
	}
	if s.Instance != "" {
		args = append(args, "instance", s.Instance)
	}
	if s.Relayed {
		args = append(args, "to_upstream", s.ToUpstream, "to_client", s.ToClient)
	}
	args = append(args, "duration", s.Duration.Round(time.Microsecond).String())
	if s.Err != nil {
		args = append(args, "error", s.Err)
	}
	if suppressed > 0 {
		args = append(args, "suppressed", suppressed)
	}
	log.Log(level, message, args...)
}

// levelOf says who has to know, and whether log is for them. A health check
// tells nobody anything; evictions have a line for all of them; a stranger or a reset is daily bread; a peer that was
// recognized and not served is something to look at.
func levelOf(log hclog.Logger, s *Summary) (level hclog.Level, wanted bool) {
	switch s.Reason {
	case ReasonSilent, ReasonHandshakeEvicted:
		return hclog.Debug, log.IsDebug()
	case ReasonDenied, ReasonAuthorizationUnknown, ReasonLimit, ReasonIntentionRevoked,
		ReasonDialFailed, ReasonDialTimeout, ReasonNoEndpoints,
		ReasonUpstreamDenied, ReasonUpstreamUnavailable, ReasonUpstreamIdentity, ReasonUpstreamClock:
		return hclog.Warn, log.IsWarn()
	}
	return hclog.Info, log.IsInfo()
}

func (w *lines) take(s *Summary) (suppressed int, ok bool) {
	rate, burst := float64(refusedRate), float64(refusedBurst)
	if s.Relayed {
		rate, burst = servedRate, servedBurst
	}
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	b := &w.bucket[s.Reason]
	if b.last.IsZero() {
		b.tokens = burst
	} else {
		b.tokens = min(burst, b.tokens+now.Sub(b.last).Seconds()*rate)
	}
	b.last = now
	if b.tokens < 1 {
		b.suppressed++
		return 0, false
	}
	b.tokens--
	suppressed, b.suppressed = b.suppressed, 0
	return suppressed, true
}

// flush says what no later line will say.
func (w *lines) flush(log hclog.Logger) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for r := range w.bucket {
		if n := w.bucket[r].suppressed; n > 0 {
			w.bucket[r].suppressed = 0
			log.Info("connections were not logged one by one", "reason", Reason(r).String(), "suppressed", n)
		}
	}
}
