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
	// Use says that a connection is about to be made. It returns at once while
	// the destination is in use. After a rest it returns when the agent has
	// confirmed the set or brought another, or has failed to, or ctx is done;
	// then there may be a new set.
	Use(ctx context.Context) (asked bool)
}

// watched is a Resolver made of a watch.
type watched struct {
	w        *watch.Watch[Set]
	interest *interest
}

var _ Resolver = watched{}

func (r watched) Set() (Set, bool)         { return r.w.Latest() }
func (r watched) Changed() <-chan struct{} { return r.w.Changed() }
func (r watched) Status() watch.Status     { return r.w.Status() }

func (r watched) Run(ctx context.Context) error {
	defer r.interest.counted()()
	return r.w.Run(ctx)
}

func (r watched) Use(ctx context.Context) bool { return r.interest.use(ctx, r.confirm) }

// confirm waits for the agent's word unless that is fresh and there is somewhere
// to go by it. It has the agent asked soon in any case.
func (r watched) confirm(ctx context.Context) {
	if s, _ := r.w.Latest(); len(s.Endpoints) > 0 && time.Since(r.w.Status().Fresh) <= freshEnough {
		r.w.Refresh()
		return
	}
	_ = r.w.Confirm(ctx)
}
