package metrics

import (
	"sync"
	"sync/atomic"
)

// Verdict is what was decided about a caller.
type Verdict uint8

// The decisions, a closed set.
const (
	// Allowed lets the caller in.
	Allowed Verdict = iota
	// Denied refuses the caller by a rule, or by the default.
	Denied
	// Unknown refuses the caller since no decision could be had.
	Unknown
	decisions // how many there are
)

var decisionNames = [decisions]string{"allowed", "denied", "unknown"}

// Origin is where a decision is from.
type Origin uint8

// The origins, a closed set.
const (
	// OriginLocal is a rule of the proxy's own.
	OriginLocal Origin = iota
	// OriginCache is an earlier answer of the agent that is still fresh.
	OriginCache
	// OriginAgent is an answer of the agent to a question about this caller.
	OriginAgent
	// OriginStale is an earlier answer that is out of date, used while the agent
	// does not answer.
	OriginStale
	origins // how many there are
)

var originNames = [origins]string{"local", "cache", "agent", "stale"}

// verdicts count the decisions about one caller.
type verdicts [decisions][origins]atomic.Uint64

// judged counts decisions by caller.
type judged struct {
	mu    sync.RWMutex // guards peers
	peers map[peerLabels]*verdicts
}

// Judged notes a decision about a caller that has proved the SPIFFE ID peerID. It
// panics where d or o is not one of the constants.
func (m *Metrics) Judged(peerID string, d Verdict, o Origin) {
	m.judged.of(m.traffic.peers.named(peerID))[d][o].Add(1)
}

func (j *judged) of(p peerLabels) *verdicts {
	j.mu.RLock()
	v := j.peers[p]
	j.mu.RUnlock()
	if v != nil {
		return v
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if v = j.peers[p]; v == nil {
		if j.peers == nil {
			j.peers = make(map[peerLabels]*verdicts)
		}
		v = new(verdicts)
		j.peers[p] = v
	}
	return v
}

// each calls f for every decision that was made.
func (j *judged) each(f func(p peerLabels, d Verdict, o Origin, n uint64)) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	for p, v := range j.peers {
		for d := range v {
			for o := range v[d] {
				if n := v[d][o].Load(); n > 0 {
					f(p, Verdict(d), Origin(o), n)
				}
			}
		}
	}
}
