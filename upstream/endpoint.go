package upstream

import (
	"context"
	"slices"
	"time"
)

// Identity is what an instance must prove to be, each part spelled as the
// catalog spells it. Namespace and Partition mean "default" when empty.
type Identity struct {
	// Service is the name of the service.
	Service string
	// Namespace and Partition are Consul Enterprise's.
	Namespace, Partition string
	// Datacenter is empty only where an agent left it out: the proxy's own.
	Datacenter string

	// Host and Patterns are whom an instance that is not of Consul's must prove to
	// be, and all else is empty then: its certificate matches one of Patterns,
	// which are package allowlist's, one a line; where there are none, it is for
	// Host, a host name or an IP address.
	Host, Patterns string
}

// maxWeight keeps sums of weights from overflowing, whoever gives them.
const maxWeight = 65535

// Endpoint is one instance of a destination. It is comparable.
type Endpoint struct {
	// ID is "node/service-id".
	ID string
	// Address is host:port; the host may be a name.
	Address string
	// Weight is the share of connections in proportion to the others'; zero
	// means 1. It counts up to 65535, which is Consul's and the DNS's bound.
	Weight int
	// Identity is what the instance must prove.
	Identity Identity
	// SNI is the server name to ask for; empty means the one that follows from
	// Identity.
	SNI string
}

// Set is all the instances of a destination that may be dialled. Nobody alters
// one that a Resolver has handed out.
type Set struct {
	// Endpoints are the instances; without any, no connection can be made.
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

// Equal reports whether o says the same.
func (s Set) Equal(o Set) bool {
	return s.Ordered == o.Ordered && s.Filtered == o.Filtered && s.Reason == o.Reason &&
		s.ConnectTimeout == o.ConnectTimeout && slices.Equal(s.Endpoints, o.Endpoints)
}

// Resolver knows a destination's Set, which it keeps current while somebody runs
// it. Its methods are safe for any goroutine, and none but Use blocks.
type Resolver interface {
	// Set returns the latest set; ok is false before the first.
	Set() (s Set, ok bool)
	// Follow has changed called after each change of the set, which must not
	// block, until stop is called. Set gives the new one by then.
	Follow(changed func()) (stop func())
	// Status says how old the set is and why.
	Status() ResolverStatus
	// Use notes that a connection is about to be made. The first one after a
	// rest has the set confirmed and waits for that, until ctx is done. It
	// reports whether the set may have changed.
	Use(ctx context.Context) bool
}

// ResolverStatus says how well a Resolver is doing.
type ResolverStatus struct {
	// Name is what the Resolver asks for.
	Name string
	// Has reports that there is a set.
	Has bool
	// Err is why the last question brought nothing; nil when it did.
	Err error
	// Fresh is the last time at which the set was known to be true, zero without
	// one. Its distance to now is the set's age.
	Fresh time.Time
	// Failures counts the questions that failed since the last good one.
	Failures int
	// Failing is when the first of them did; zero without one.
	Failing time.Time
}
