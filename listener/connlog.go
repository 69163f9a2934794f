package listener

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Lines a second for each reason, and how many may come at once. Clients that
// were served get room for what an operator may want to follow; anybody can cause
// refusals, any number of them.
const (
	servedRate, servedBurst   = 100, 500
	refusedRate, refusedBurst = 1, 20
)

// connLog is the operational log of connections: a line for each that has ended,
// as far as the rate for its reason allows; the next line has how many were left
// out. The access log is another one, written by an Observer.
type connLog struct {
	mu     sync.Mutex
	bucket *[reasonCount]bucket // nil until there is something to log
}

type bucket struct {
	tokens     float64
	last       time.Time
	suppressed int
}

// closed logs one connection. At debug level nothing is left out.
func (l *connLog) closed(log hclog.Logger, s *Summary) {
	level, wanted := levelOf(log, s)
	if !wanted {
		return
	}
	suppressed, ok := 0, true
	if !log.IsDebug() {
		suppressed, ok = l.take(s)
	}
	if !ok {
		return
	}
	message := "connection closed"
	if !s.Relayed && !s.Served {
		message = "connection refused"
	}
	args := make([]any, 0, 20)
	args = append(args, "reason", s.Reason.String(), "client", s.Client.String())
	if s.Destination != nil {
		args = append(args, "upstream", s.Destination.String())
	}
	if s.User != "" {
		args = append(args, "user", s.User)
	}
	if s.Peer != "" {
		args = append(args, "peer", s.Peer)
	}
	if a := s.Instance.Address; a != "" {
		args = append(args, "instance", a)
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

// levelOf is how important the end of a connection is, and whether log wants it.
// A health check is not; evictions are logged together (evictionLog); a failed
// handshake or a reset is normal; a peer that was recognized and not served is
// something to look at.
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

// take reports whether a connection is to be logged, and how many of its reason
// were not since the last one.
func (l *connLog) take(s *Summary) (suppressed int, ok bool) {
	rate, burst := float64(refusedRate), float64(refusedBurst)
	if s.Relayed {
		rate, burst = servedRate, servedBurst
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bucket == nil {
		l.bucket = new([reasonCount]bucket)
	}
	b := &l.bucket[s.Reason]
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

// flush logs what was left out and no later line will have.
func (l *connLog) flush(log hclog.Logger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bucket == nil {
		return
	}
	for r := range l.bucket {
		if n := l.bucket[r].suppressed; n > 0 {
			l.bucket[r].suppressed = 0
			log.Info("connections were not logged one by one", "reason", Reason(r).String(), "suppressed", n)
		}
	}
}
