package authorize

import (
	"time"

	"connect-proxy/upstream/watch"
)

// Status is about how callers are judged.
type Status struct {
	// Identities counts those whose decision is remembered.
	Identities int `json:"identities"`
	// Generation counts how often decisions were made anew because of the
	// intentions.
	Generation uint64 `json:"generation"`
	// Unwatched is set while the intentions cannot be watched, and for two minutes
	// after that, so that decisions are asked for every few seconds.
	Unwatched bool `json:"blind"`
	// OldestSeconds is the age of the oldest decision remembered.
	OldestSeconds float64 `json:"oldest_seconds"`
	// Problem is why the agent did not give the last decision it was asked for;
	// empty if it did.
	Problem string `json:"problem,omitempty"`

	// Intentions says how fresh they are.
	Intentions watch.Freshness `json:"intentions_watch"`
}

// Status returns a snapshot.
func (a *Authorizer) Status() Status {
	now := time.Now()
	s := Status{
		Generation: a.generation.Load(),
		Unwatched:  a.unwatched.Load(),
		Intentions: a.match.Status().Freshness(now),
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	s.Identities = len(a.callers)
	if a.lastErr != nil {
		s.Problem = a.lastErr.Error()
	}
	for _, c := range a.callers {
		if d := c.decision.Load(); d != nil {
			s.OldestSeconds = max(s.OldestSeconds, watch.Seconds(now.Sub(d.at)))
		}
	}
	return s
}
