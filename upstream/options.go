package upstream

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
)

// The balance policies.
const (
	// LeastConnections takes the less loaded of two random instances.
	LeastConnections = "least_connections"
	RoundRobin       = "round_robin"
	Random           = "random"
	// Ordered takes the first instance that works, in the set's order.
	Ordered = "ordered"
)

// Defaults of Options.
const (
	DefaultConnectTimeout = 5 * time.Second
	DefaultMaxFailures    = 1
	DefaultSetAside       = time.Second
)

// DialFunc opens a connection to one instance that has proved its identity. It
// marks the errors ErrIdentity, ErrClock and ErrDenied, and returns soon after ctx is
// done.
type DialFunc func(ctx context.Context, ep Endpoint) (net.Conn, error)

// Options describe an Upstream.
type Options struct {
	// Name is the destination's, for logs and errors.
	Name string
	// Resolver and Dial are required. Run runs the Resolver, unless it is
	// Shared: then somebody else does.
	Resolver Resolver
	Shared   bool
	Dial     DialFunc
	// Ready, where set, is waited for before an instance is picked, so that no
	// instance is blamed while certificates are missing. Its error ends the
	// Dial.
	Ready func(ctx context.Context) error

	// ConnectTimeout bounds a Dial, all attempts together; zero means the
	// destination's own, and DefaultConnectTimeout where that has none.
	ConnectTimeout time.Duration
	// Balance is one of the policies; empty means LeastConnections. An ordered
	// Set is used in its order whatever this says.
	Balance string
	// MaxConnections is the most connections at a time, those being dialled
	// included; zero means no limit.
	MaxConnections int
	// MaxFailures in a row set an instance aside; zero means
	// DefaultMaxFailures.
	MaxFailures int
	// SetAside is the first time that an instance is set aside for; it doubles
	// up to a minute. Zero means DefaultSetAside.
	SetAside time.Duration
	// MaxStale bounds how long the set is used once the agent does not answer;
	// zero means for ever.
	MaxStale time.Duration

	// Logger may be nil.
	Logger hclog.Logger
}

func (o Options) withDefaults() Options {
	if o.Balance == "" {
		o.Balance = LeastConnections
	}
	if o.MaxFailures <= 0 {
		o.MaxFailures = DefaultMaxFailures
	}
	if o.SetAside <= 0 {
		o.SetAside = DefaultSetAside
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	return o
}

func (o Options) check() error {
	switch {
	case o.Resolver == nil:
		return fmt.Errorf("upstream %s: no resolver", o.Name)
	case o.Dial == nil:
		return fmt.Errorf("upstream %s: no dial function", o.Name)
	}
	switch o.Balance {
	case LeastConnections, RoundRobin, Random, Ordered:
		return nil
	}
	return fmt.Errorf("upstream %s: unknown balance policy %q", o.Name, o.Balance)
}
