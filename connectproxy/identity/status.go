package identity

import (
	"time"

	"connect-proxy/upstream/watch"
)

// Status is about who the proxy is to its peers. Its fields but the
// watches are empty before the first certificates.
type Status struct {
	// SpiffeID is the leaf's URI.
	SpiffeID string `json:"spiffe_id,omitempty"`
	// TrustDomain is the cluster's.
	TrustDomain string `json:"trust_domain,omitempty"`
	// Generation counts the pairs of leaf and roots that have been in force.
	Generation uint64 `json:"generation"`
	// LeafSerial is in hex with colons.
	LeafSerial string `json:"leaf_serial,omitempty"`
	// LeafNotBefore is when the leaf becomes valid; zero without one.
	LeafNotBefore time.Time `json:"leaf_not_before,omitzero"`
	// LeafNotAfter is when it expires; zero without one.
	LeafNotAfter time.Time `json:"leaf_not_after,omitzero"`
	// Roots are the IDs of all trusted roots.
	Roots []string `json:"roots,omitempty"`
	// ActiveRoot is the ID of the one that signs.
	ActiveRoot string `json:"active_root,omitempty"`
	// RootsNotAfter are the ends of Roots, in their order.
	RootsNotAfter []time.Time `json:"roots_not_after,omitempty"`
	// LeafChanges counts the leafs that have been in force.
	LeafChanges uint64 `json:"leaf_changes"`
	// LeafErrors counts those that the agent gave and that could not be used.
	LeafErrors uint64 `json:"leaf_errors"`
	// RootChanges counts the sets of roots that have been in force.
	RootChanges uint64 `json:"root_changes"`
	// RootErrors counts those that the agent gave and that could not be used.
	RootErrors uint64 `json:"root_errors"`
	// Problem is why no connection can be made or accepted; empty if nothing is
	// wrong.
	Problem string `json:"problem,omitempty"`
	// Warnings are what will be wrong soon, or is unwise, a sentence each.
	Warnings []string `json:"warnings,omitempty"`

	// Mesh is nil before there are certificates.
	Mesh *MeshStatus `json:"mesh_tls,omitempty"`

	// Leaf says how fresh the leaf is.
	Leaf watch.Freshness `json:"leaf_watch"`
	// RootsSeen says how fresh the roots are.
	RootsSeen watch.Freshness `json:"roots_watch"`
}

// MeshStatus is what the mesh configuration entry says of TLS, as it is in force.
type MeshStatus struct {
	// Known reports whether the agent has ever answered. Where it has not, the
	// proxy's own settings alone hold.
	Known bool `json:"known"`
	// Error is why it does not answer now; empty if it does.
	Error string `json:"error,omitempty"`
	// Incoming is the bounds for callers in words; empty where there are none.
	Incoming string `json:"incoming,omitempty"`
	// Outgoing is the same for instances.
	Outgoing string `json:"outgoing,omitempty"`
	// Problems are what of them cannot be done, a sentence each.
	Problems []string `json:"problems,omitempty"`
}

func (i *Identity) meshStatus(g *generation) *MeshStatus {
	s := &MeshStatus{Incoming: g.mesh.incoming.String(), Outgoing: g.mesh.outgoing.String()}
	w := i.mesh.Status()
	s.Known = w.Has
	if w.Err != nil {
		s.Error = w.Err.Error()
	}
	for _, b := range []struct {
		direction string
		bounds    tlsBounds
	}{{"incoming", g.mesh.incoming}, {"outgoing", g.mesh.outgoing}} {
		for _, p := range b.bounds.problems() {
			s.Problems = append(s.Problems, b.direction+": "+p)
		}
	}
	return s
}

// Status returns a snapshot.
func (i *Identity) Status() Status {
	now := time.Now()
	s := Status{
		Problem:     i.Problem(),
		LeafChanges: i.changes.leafs.Load(), LeafErrors: i.changes.badLeafs.Load(),
		RootChanges: i.changes.roots.Load(), RootErrors: i.changes.badRoots.Load(),
		Leaf:      i.leaf.Status().Freshness(now),
		RootsSeen: i.roots.Status().Freshness(now),
	}
	if g := i.current.Load(); g != nil {
		s.SpiffeID = g.leaf.id.String()
		s.TrustDomain = g.roots.trustDomain
		s.Generation = g.number
		s.LeafSerial = g.leaf.serial
		s.LeafNotBefore = g.leaf.cert.Leaf.NotBefore
		s.LeafNotAfter = g.leaf.cert.Leaf.NotAfter
		s.Roots = g.roots.ids()
		s.RootsNotAfter = g.roots.ends
		s.ActiveRoot = g.roots.answer.ActiveRootID
		s.Mesh = i.meshStatus(g)
	}
	return s
}
