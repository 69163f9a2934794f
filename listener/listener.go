package listener

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/listener/relay"
)

const (
	// DefaultHandshakeTimeout bounds what a stranger may take until it is
	// authorized. It is Consul's own default.
	DefaultHandshakeTimeout = 10 * time.Second
	// DefaultDialTimeout bounds the dial of the far side; Consul's default for
	// local_connect_timeout_ms and connect_timeout_ms.
	DefaultDialTimeout = 5 * time.Second
	// DefaultMaxHandshakes is how many handshakes may be unfinished at a time. It
	// bounds the memory that strangers can hold, and is large enough for a crowd
	// of honest clients that come back at once; docs/security.md has the figures.
	DefaultMaxHandshakes = 1024
	// DefaultMaxAuthorizations is how many clients may wait for their
	// authorization at a time.
	DefaultMaxAuthorizations = 1024
)

// Options are what happens to the connections of a Listener.
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

	// Request, in place of Handshake and Dial, reads from each client where it
	// wants to go. One that has not said so yet counts as one that has not proven
	// an identity: HandshakeTimeout and MaxHandshakes bound it.
	Request RequestFunc

	// Dial opens the far side. It is required without Request and InProcess.
	Dial DialFunc
	// InProcess, in place of Dial, is where the program accepts the connections of
	// clients that may pass, to serve them itself: nothing is dialled or relayed
	// then. The limits below count for these too.
	InProcess *InProcess
	// DialTimeout bounds Dial, and how long the program may take to accept; zero
	// means DefaultDialTimeout.
	DialTimeout time.Duration
	// Preamble makes what the far side gets first, before any byte of the client:
	// who that is. It is called once for each far side that was dialled, hence
	// after authorization. DialTimeout bounds sending what it returns, which is
	// not counted among the bytes relayed; its error, or a far side that does not
	// take all, ends the connection. Nil sends nothing.
	Preamble func(Open) ([]byte, error)

	// MaxConnections is the most connections at a time, zero for no limit. Only
	// authorized ones count, so that strangers cannot use them up.
	MaxConnections int
	// FairConnections shares MaxConnections among the addresses of clients that
	// nothing else tells apart. Beyond it, a connection of the address that has most
	// gives way to one of an address that has at least two fewer: the first that is
	// idle (Request.IdleSince), or else the oldest. To one of an address that has one
	// fewer, the one that has been idle for longest gives way, if there is any. It is
	// for listeners with a Request.
	FairConnections bool
	// MaxHandshakes is the most connections at a time whose clients have not
	// proven an identity; zero means DefaultMaxHandshakes. Beyond it one of them
	// gives way to each that comes.
	MaxHandshakes int
	// MaxAuthorizations is the most connections at a time whose clients have and
	// wait for Authorize; zero means DefaultMaxAuthorizations. Beyond it the
	// latest of the identity that has most of them is refused.
	MaxAuthorizations int

	// Relay moves the bytes of connections whose far side is open; several
	// listeners may share one, whose owner closes it after them. Nil gives this
	// listener one of its own. New fixes it, Update does not change it.
	Relay *relay.Engine
	// IdleTimeout, MaxLifetime and HalfCloseTimeout are relay.Options', as are
	// their zero values.
	IdleTimeout, MaxLifetime, HalfCloseTimeout time.Duration

	// Counters returns what counts the bytes of a connection while it is open;
	// nil, and what returns nil, count none. It is called when the connection
	// starts to be relayed, and must not block.
	Counters func(Open) *relay.Counters
	// Observer is told of every connection; nil means nobody.
	Observer Observer
	// AcceptFailed is told of each Accept that failed and is tried again, at most
	// some two hundred times a second; nil means nobody.
	AcceptFailed func(error)
	// Logger gets one line for each connection, as far as its rate allows; nil
	// logs nothing.
	Logger hclog.Logger
}

// settings are Options with their defaults in, as connections use them.
type settings struct {
	Options
	log hclog.Logger
}

// begins reports whether clients have to say something before anything is done
// for them.
func (o *settings) begins() bool { return o.Handshake != nil || o.Request != nil }

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
	if o.AcceptFailed == nil {
		o.AcceptFailed = func(error) {}
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
	acceptor acceptor // Run's
	workers  *workers // while Run runs
	relay    *relay.Engine
	ownRelay bool
	log      connLog
	// brokenEvery is a field for tests.
	brokenEvery time.Duration
	// evictions is the goroutine that logs them, while there are any.
	evictions sync.WaitGroup

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
	case o.Dial == nil && o.Request == nil && o.InProcess == nil:
		return nil, errNoDial
	case o.Request != nil && (o.Handshake != nil || o.Dial != nil || o.InProcess != nil):
		return nil, errTwoWays
	case o.Handshake != nil && o.Authorize == nil:
		return nil, errNoAuthorize
	}
	l := &Listener{
		ln:       ln,
		relay:    o.Relay,
		stopping: make(chan struct{}),
		released: make(chan struct{}),
		finished: make(chan struct{}),

		brokenEvery: brokenEvery,
	}
	if l.relay == nil {
		l.relay, l.ownRelay = relay.New(), true
	}
	l.conns = newTracker(func() { l.evictions.Go(l.watchEvictions) })
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

// localAddr is the local address of a connection that was accepted. Where the
// socket is bound to one address all of them share its value: an idle connection
// should hold little.
func (l *Listener) localAddr(raw net.Conn) net.Addr {
	local, own := raw.LocalAddr(), l.ln.Addr()
	a, ok := local.(*net.TCPAddr)
	b, alike := own.(*net.TCPAddr)
	if ok && alike && a.Port == b.Port && a.IP.Equal(b.IP) && a.Zone == b.Zone {
		return own // compared without making texts of them
	}
	if !ok && local.String() == own.String() {
		return own
	}
	return local
}

// Live is the number of connections that are accepted and have not ended,
// strangers in their handshake among them.
func (l *Listener) Live() int { return l.conns.count() }

// Pending are the numbers of connections, among Live, whose clients have not
// proven an identity yet, and of those that have and wait for Authorize.
func (l *Listener) Pending() (handshakes, authorizations int) { return l.conns.pending() }

// OverLimit counts the connections that were refused since the start, or had to give
// way, because of MaxConnections.
func (l *Listener) OverLimit() uint64 { return l.conns.refusedOverLimit() }

// Problem is why nothing can be accepted now, in one line; it is empty unless
// something is wrong. A Listener that was stopped on purpose has no problem.
func (l *Listener) Problem() string {
	if p := l.problem.Load(); p != nil {
		return *p
	}
	return ""
}

// Peers lists the distinct identities that have a connection, in no order.
func (l *Listener) Peers() []string { return l.conns.peers() }

// ClosePeers resets every connection whose peer matches and returns how many
// there were. It reaches a connection as soon as its identity is known, hence
// also one that is being authorized or dialled at this moment. It costs one
// call of match for each distinct identity, not for each connection.
func (l *Listener) ClosePeers(match func(peer string) bool, r Reason) int {
	return l.conns.closePeers(match, r)
}
