package listener

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/listener/relay"
	"connect-proxy/listener/secure"
)

const (
	// DefaultHandshakeTimeout bounds what a stranger may take until it is
	// authorized. It is Consul's own default.
	DefaultHandshakeTimeout = 10 * time.Second
	// DefaultDialTimeout bounds the dial of the far side; Consul's default for
	// local_connect_timeout_ms and connect_timeout_ms.
	DefaultDialTimeout = 5 * time.Second
	// DefaultMaxHandshakes is how many strangers may be on their way to an
	// identity at a time. One that sends nothing holds 4 kB here, one in the
	// middle of its handshake 32 kB, so that all of them hold 32 MB at worst;
	// and two cores finish as many honest handshakes in half a second, so that
	// a crowd of clients that come back at once need not wait for long. Five
	// hundred strangers a second leave each handshake two seconds.
	DefaultMaxHandshakes = 1024
	// DefaultMaxAuthorizations is how many clients may wait for their
	// authorization at a time. Each holds 32 kB.
	DefaultMaxAuthorizations = 1024
)

// Target is the far side of an accepted connection, as a DialFunc opened it.
type Target struct {
	Conn net.Conn
	// Instance is the address dialled.
	Instance string
	// Peer is the SPIFFE ID it proved; empty for a plain application.
	Peer string
	// Release is called once, after Conn is closed; it may be nil. Answered is
	// called in its place where the far side had sent something, and Failed
	// where it took the connection and ended it with err at once, without that;
	// they may be nil too.
	Release  func()
	Answered func()
	Failed   func(err error)
	// Next is called in place of these where the far side refused the connection
	// with err before anything was delivered. It opens another far side, under
	// DialFunc's rules, or says why there is none. Nil means that the refusal
	// ends the connection.
	Next func(ctx context.Context, why secure.Refusal, err error) (Target, error)
}

// DialFunc opens the far side for one accepted connection. It ends when ctx
// does, which carries DialTimeout. An error made with WithReason is counted
// under that reason.
type DialFunc func(ctx context.Context) (Target, error)

// Session is what a handshake made of an accepted connection.
type Session struct {
	// Conn carries the application's bytes and closes the accepted socket when
	// it is closed.
	Conn net.Conn
	// Peer is the SPIFFE ID that the client proved.
	Peer string
	// Serial is its certificate's, as the agent wants it: hex with colons.
	Serial  string
	Resumed bool
}

// HandshakeFunc makes a Session of an accepted connection. The deadline of
// HandshakeTimeout is set on raw, and whoever ends the connection closes raw, so
// the function needs no timer or goroutine of its own: ctx carries the deadline
// and is never cancelled. On error raw stays the Listener's to close.
type HandshakeFunc func(ctx context.Context, raw net.Conn) (Session, error)

// AuthorizeFunc says whether a peer may pass: nil, a *Denied, or another error
// where that is unknown, which refuses too.
type AuthorizeFunc func(ctx context.Context, s Session) error

// Options say what happens to the connections of a Listener.
type Options struct {
	// Name is shown as `listener` in logs and in Summary.Listener.
	Name string

	// Handshake authenticates a client; nil relays the accepted socket as it
	// is.
	Handshake HandshakeFunc
	// Authorize judges a client after its handshake. It must be set with
	// Handshake and is not used without.
	Authorize AuthorizeFunc
	// HandshakeTimeout bounds handshake and authorization together; zero means
	// DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration

	Dial DialFunc
	// DialTimeout bounds Dial; zero means DefaultDialTimeout.
	DialTimeout time.Duration

	// MaxConnections is the most connections at a time, zero for no limit. Only
	// authorized ones take a place, so that strangers cannot use them up.
	MaxConnections int
	// MaxHandshakes is the most connections at a time whose clients have not
	// proven an identity; zero means DefaultMaxHandshakes. Beyond it one of them
	// gives way to each that comes.
	MaxHandshakes int
	// MaxAuthorizations is the most connections at a time whose clients have and
	// wait for Authorize; zero means DefaultMaxAuthorizations. Beyond it the
	// latest of the identity that has most of them is refused.
	MaxAuthorizations int

	// Relay moves the bytes of connections that have climbed the ladder; several
	// listeners may share one, whose owner closes it after them. Nil gives this
	// listener one of its own. New fixes it, Update does not change it.
	Relay *relay.Engine
	// IdleTimeout, MaxLifetime and HalfCloseTimeout are relay.Options', as are
	// their zero values.
	IdleTimeout, MaxLifetime, HalfCloseTimeout time.Duration

	// Observer is told of every connection; nil means nobody.
	Observer Observer
	// Logger gets one line for each connection, as far as its rate allows; nil
	// logs nothing.
	Logger hclog.Logger
}

// settings are Options with their defaults in, as connections use them.
type settings struct {
	Options
	log hclog.Logger
}

func (o Options) settings() *settings {
	if o.HandshakeTimeout <= 0 {
		o.HandshakeTimeout = DefaultHandshakeTimeout
	}
	if o.DialTimeout <= 0 {
		o.DialTimeout = DefaultDialTimeout
	}
	if o.MaxHandshakes <= 0 {
		o.MaxHandshakes = DefaultMaxHandshakes
	}
	if o.MaxAuthorizations <= 0 {
		o.MaxAuthorizations = DefaultMaxAuthorizations
	}
	if o.Observer == nil {
		o.Observer = nopObserver{}
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	return &settings{Options: o, log: o.Logger.With("listener", o.Name)}
}

// Listener accepts connections on one socket. Its methods are safe for
// concurrent use.
type Listener struct {
	ln       net.Listener
	options  atomic.Pointer[settings]
	problem  atomic.Pointer[string]
	conns    *tracker
	crew     *crew // while Run runs
	relay    *relay.Engine
	ownRelay bool
	lines    lines

	// mu makes Run and StopAccepting agree on who closes the socket.
	mu       sync.Mutex
	ran      bool
	stopping chan struct{} // closed when accepting is to end
	released chan struct{} // closed when the socket is
	finished chan struct{} // closed when every goroutine has ended
}

// New makes a Listener of an open socket, which it owns from then on. It starts
// nothing; a Listener that is not Run is closed by Drain or StopAccepting.
func New(ln net.Listener, o Options) (*Listener, error) {
	switch {
	case ln == nil:
		return nil, errNoListener
	case o.Dial == nil:
		return nil, errNoDial
	case o.Handshake != nil && o.Authorize == nil:
		return nil, errNoAuthorize
	}
	l := &Listener{
		ln:       ln,
		conns:    newTracker(),
		relay:    o.Relay,
		stopping: make(chan struct{}),
		released: make(chan struct{}),
		finished: make(chan struct{}),
	}
	if l.relay == nil {
		l.relay, l.ownRelay = relay.New(), true
	}
	l.options.Store(o.settings())
	return l, nil
}

// Update puts other options in force for the connections accepted from now on;
// limits count at once. Open connections are left as they are. The caller hands
// over options that New would take: what is missing in them refuses
// connections, it never lets any pass.
func (l *Listener) Update(o Options) { l.options.Store(o.settings()) }

// Addr is the address of the socket.
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

// Live is the number of connections that are accepted and have not ended,
// strangers in their handshake among them.
func (l *Listener) Live() int { return l.conns.count() }

// Problem says in one line why nothing can be accepted now, and is empty while
// all is well. A Listener that was stopped on purpose has no problem.
func (l *Listener) Problem() string {
	if p := l.problem.Load(); p != nil {
		return *p
	}
	return ""
}

// Peers lists the distinct identities that have a connection, in no order.
func (l *Listener) Peers() []string { return l.conns.peers() }

// ClosePeers cuts every connection whose peer matches and returns how many
// there were. It reaches a connection as soon as its identity is known, hence
// also one that is being authorized or dialled at this moment. It costs one
// call of match for each distinct identity, not for each connection.
func (l *Listener) ClosePeers(match func(peer string) bool, r Reason) int {
	return l.conns.cutPeers(match, r)
}
