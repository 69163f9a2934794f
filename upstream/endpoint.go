package upstream

import (
	"context"
	"slices"
	"time"

	"connect-proxy/connectproxy/watch"
)

// Identity is what an instance must prove to be, each part spelled as the
// catalogue spells it. Namespace and Partition mean "default" when empty.
type Identity struct {
	Service, Namespace, Partition string
	// Datacenter is empty only where an agent left it out: the proxy's own.
	Datacenter string
}

// Endpoint is one instance of a destination. It is comparable.
type Endpoint struct {
	// ID is "node/service-id".
	ID string
	// Address is host:port; the host may be a name.
	Address string
	// Weight is the share of connections in proportion to the others'; zero
	// means 1.
	Weight   int
	Identity Identity
	// SNI is the server name to ask for; empty means the one that follows from
	// Identity.
	SNI string
}

// Set is all the instances of a destination that may be dialled. Nobody alters
// one that a Resolver has handed out.
type Set struct {
	Endpoints []Endpoint
	// Ordered asks to use the first one that works, nearest first, whatever the
	// balance policy is.
	Ordered bool
	// Filtered reports that the agent left instances out which the token may
	// not read.
	Filtered bool
	// Reason says why Endpoints is empty, where that is not for want of healthy
	// instances.
	Reason string
	// ConnectTimeout is the destination's own; zero if it has none.
	ConnectTimeout time.Duration
}

func (s Set) equal(o Set) bool {
	return s.Ordered == o.Ordered && s.Filtered == o.Filtered && s.Reason == o.Reason &&
		s.ConnectTimeout == o.ConnectTimeout && slices.Equal(s.Endpoints, o.Endpoints)
}

// Resolver keeps a destination's Set current while Run runs. All but Run are
// safe for any goroutine and never block.
type Resolver interface {
	// Run blocks until ctx is done and returns its error.
	Run(ctx context.Context) error
	// Set returns the latest set; ok is false before the first.
	Set() (s Set, ok bool)
	// Changed returns a channel that is closed at the next change. Take it
	// before Set.
	Changed() <-chan struct{}
	// Status says how old the set is and why.
	Status() watch.Status
}

// watched is a Resolver made of a watch.
type watched struct{ w *watch.Watch[Set] }

var _ Resolver = watched{}

func (r watched) Run(ctx context.Context) error { return r.w.Run(ctx) }
func (r watched) Set() (Set, bool)              { return r.w.Latest() }
func (r watched) Changed() <-chan struct{}      { return r.w.Changed() }
func (r watched) Status() watch.Status          { return r.w.Status() }
