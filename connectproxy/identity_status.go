package connectproxy

import "time"

// IdentityStatus is about who the proxy is to its peers. Its fields but the
// watches are empty before the first certificates.
type IdentityStatus struct {
	SpiffeID    string `json:"spiffe_id,omitempty"`
	TrustDomain string `json:"trust_domain,omitempty"`
	// Generation counts the pairs of leaf and roots that have been in force.
	Generation    uint64    `json:"generation"`
	LeafSerial    string    `json:"leaf_serial,omitempty"`
	LeafNotBefore time.Time `json:"leaf_not_before,omitzero"`
	LeafNotAfter  time.Time `json:"leaf_not_after,omitzero"`
	// Roots are the IDs of all trusted roots, ActiveRoot the one that signs.
	Roots      []string `json:"roots,omitempty"`
	ActiveRoot string   `json:"active_root,omitempty"`
	// Problem is why no connection can be made or accepted; empty if nothing is
	// wrong.
	Problem string `json:"problem,omitempty"`

	Leaf      WatchStatus `json:"leaf_watch"`
	RootsSeen WatchStatus `json:"roots_watch"`
}

// Status returns a snapshot.
func (i *identity) Status() IdentityStatus {
	now := time.Now()
	s := IdentityStatus{
		Problem:   i.Problem(),
		Leaf:      watchStatus(i.leaf.Status(), now),
		RootsSeen: watchStatus(i.roots.Status(), now),
	}
	if g := i.current.Load(); g != nil {
		s.SpiffeID = g.leaf.id.String()
		s.TrustDomain = g.roots.trustDomain
		s.Generation = g.number
		s.LeafSerial = g.leaf.serial
		s.LeafNotBefore = g.leaf.cert.Leaf.NotBefore
		s.LeafNotAfter = g.leaf.cert.Leaf.NotAfter
		s.Roots = g.roots.ids()
		s.ActiveRoot = g.roots.answer.ActiveRootID
	}
	return s
}

// AuthorizerStatus is about how callers are judged.
type AuthorizerStatus struct {
	// Identities counts those whose decision is remembered.
	Identities int `json:"identities"`
	// Generation counts how often decisions were made anew because of the
	// intentions.
	Generation uint64 `json:"generation"`
	// Blind is set while the intentions cannot be watched, and for two minutes
	// after that, so that decisions are asked for every few seconds.
	Blind bool `json:"blind"`
	// OldestSeconds is the age of the oldest decision remembered.
	OldestSeconds float64 `json:"oldest_seconds"`
	// Problem is why the agent did not give the last decision it was asked for;
	// empty if it did.
	Problem string `json:"problem,omitempty"`

	Intentions WatchStatus `json:"intentions_watch"`
}

// Status returns a snapshot.
func (a *authorizer) Status() AuthorizerStatus {
	now := time.Now()
	s := AuthorizerStatus{
		Generation: a.generation.Load(),
		Blind:      a.blind.Load(),
		Intentions: watchStatus(a.match.Status(), now),
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	s.Identities = len(a.decisions)
	if a.trouble != nil {
		s.Problem = a.trouble.Error()
	}
	for _, d := range a.decisions {
		if v := d.verdict.Load(); v != nil {
			s.OldestSeconds = max(s.OldestSeconds, seconds(now.Sub(v.at)))
		}
	}
	return s
}
