package upstream

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Defaults of Options.
const (
	// DefaultConnectTimeout is Consul's own.
	DefaultConnectTimeout = 5 * time.Second
	// DefaultMaxFailures is one, since a dial that failed is an answer in itself.
	DefaultMaxFailures = 1
	// DefaultSetAside is short, since one attempt shows that an instance is back.
	DefaultSetAside = time.Second
	// DefaultMaxSetAside bounds how late an instance that is back is found.
	DefaultMaxSetAside = time.Minute
)

// DialFunc opens a connection to one instance that has proved its identity. It
// marks the errors ErrIdentity, ErrClock and ErrDenied, and returns soon after ctx is
// done.
type DialFunc func(ctx context.Context, ep Endpoint) (net.Conn, error)

// Options describe an Upstream.
type Options struct {
	// Name is the destination's, for logs and errors.
	Name string
	// Resolver says which instances there are. Required; several Upstreams may
	// share one.
	Resolver Resolver
	// Dial opens a connection to one of them. Required.
	Dial DialFunc
	// Ready, where set, is waited for before an instance is picked, so that no
	// instance is blamed while certificates are missing. Its error ends the
	// Dial.
	Ready func(ctx context.Context) error
	// Client, where set, says whom a connection is for, by the context of its
	// Dial or Next, so that a policy may go by it; the zero value is nobody known.
	// It is called once for each and must not block.
	Client func(ctx context.Context) netip.AddrPort

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
	// up to MaxSetAside. Zero means DefaultSetAside.
	SetAside time.Duration
	// MaxSetAside is the longest; zero means DefaultMaxSetAside.
	MaxSetAside time.Duration
	// MaxSetAsidePercent bounds the share of the instances that are set aside at
	// a time, though one always may be; zero means no bound.
	MaxSetAsidePercent int
	// NeverSetAside leaves every instance in use, whatever fails.
	NeverSetAside bool
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
	if o.MaxSetAside <= 0 {
		o.MaxSetAside = DefaultMaxSetAside
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	return o
}

// request is what a Dial under ctx is for.
func (o *Options) request(ctx context.Context) request {
	if o.Client == nil {
		return request{}
	}
	return request{client: o.Client(ctx)}
}

func (o Options) check() error {
	switch {
	case o.Resolver == nil:
		return fmt.Errorf("upstream %s: no resolver", o.Name)
	case o.Dial == nil:
		return fmt.Errorf("upstream %s: no dial function", o.Name)
	}
	if policies[o.Balance] == nil {
		return fmt.Errorf("upstream %s: unknown balance policy %q", o.Name, o.Balance)
	}
	return nil
}
