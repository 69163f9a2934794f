package authorize

import (
	"time"

	"connect-proxy/upstream/watch"
)

// Decision is what is remembered about one caller.
type Decision struct {
	// Peer is its SPIFFE ID.
	Peer string
	// Known reports whether the agent has answered, and Allowed what.
	Known, Allowed bool
	// Reason is the agent's own, such as the intention that decided.
	Reason string
	// AgeSeconds is the time since the agent was asked.
	AgeSeconds float64
	// Error is why it did not answer the last question; empty if it did.
	Error string
}

// Decisions lists what is remembered, in no order.
func (a *Authorizer) Decisions() []Decision {
	now := time.Now()
	a.mu.RLock()
	defer a.mu.RUnlock()
	all := make([]Decision, 0, len(a.callers))
	for uri, c := range a.callers {
		out := Decision{Peer: uri}
		if d := c.decision.Load(); d != nil {
			out.Known, out.Allowed, out.Reason = true, d.err == nil, d.reason
			out.AgeSeconds = watch.Seconds(now.Sub(d.at))
		}
		if c.err != nil {
			out.Error = c.err.Error()
		}
		all = append(all, out)
	}
	return all
}
