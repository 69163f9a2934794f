package byname

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy/dynamic"
	"connect-proxy/listener"
)

// Options are how a Server leads clients to destinations. All functions are
// required, and must be safe for concurrent use.
type Options struct {
	// Destination returns which destination a client means by a name, without its
	// port. domain is that of Consul's DNS. An error means that no destination has
	// that name.
	Destination func(name, domain string) (config.Destination, error)
	// Target connects to a destination for a client of SOCKS5 or CONNECT. The
	// listener.Reason of its error decides what the client is answered.
	Target func(ctx context.Context, d config.Destination) (listener.Target, error)
	// Dial connects to a destination for requests of plain HTTP. The
	// listener.Reason of its error decides the status.
	Dial func(ctx context.Context, to dynamic.Call) (net.Conn, error)
	// Logger may be nil.
	Logger hclog.Logger
}

// Server answers clients of SOCKS5, HTTP CONNECT and plain HTTP. Its methods are
// safe for concurrent use.
type Server struct {
	o       Options
	access  atomic.Pointer[access]
	forward *forward
}

// New makes a Server. It starts nothing, and allows nobody anything before Update.
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	s := &Server{o: o}
	s.access.Store(&access{})
	s.forward = newForward(s)
	return s
}

// Update puts c in force for requests from then on: who may go where, and the
// passwords of users. An error names a destination of c that cannot be read, and
// leaves the former configuration in force.
func (s *Server) Update(c config.ByName) error {
	a, err := newAccess(c)
	if err == nil {
		s.access.Store(a)
	}
	return err
}

// CloseIdle closes the connections of plain HTTP that are kept for later requests,
// those of clients and those to services, and keeps none from then on. It is for the
// drain. Requests under way go on.
func (s *Server) CloseIdle() { s.forward.closeIdle() }

// Reset has no connection to a service that is open now get further requests: what
// it was opened with is in force no more.
func (s *Server) Reset() { s.forward.reset() }

// readers are for what clients ask for.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 2048) }}

// Request reads what a client asks for, as a listener.RequestFunc: by its first
// byte SOCKS5, or else HTTP. It answers a client that is refused, with an error
// whose listener.Reason is ReasonDenied where the destination is not allowed.
func (s *Server) Request(_ context.Context, raw net.Conn) (listener.Request, error) {
	in := readers.Get().(*bufio.Reader)
	in.Reset(raw)
	defer func() {
		in.Reset(nil)
		readers.Put(in)
	}()
	first, err := in.Peek(1)
	if err != nil {
		return listener.Request{}, err
	}
	switch first[0] {
	case socksVersion:
		return s.socks(raw, in)
	case 4:
		_, _ = raw.Write([]byte{0, 0x5b, 0, 0, 0, 0, 0, 0})
		return listener.Request{}, errors.New("the client speaks SOCKS4: this port takes SOCKS5, HTTP CONNECT and plain HTTP for a proxy")
	case 0x16:
		return listener.Request{}, errors.New("the client speaks TLS: this port takes SOCKS5, HTTP CONNECT and plain HTTP for a proxy")
	}
	return s.http(raw, in)
}

// destination is where a client is led that asks for a name, if it may. What it
// returns besides an error is for logs.
func (a *access) destination(name, user string, find func(name, domain string) (config.Destination, error)) (config.Destination, error) {
	if net.ParseIP(name) != nil {
		return config.Destination{}, fmt.Errorf("%w: %.80q is an address", errNoName, name)
	}
	d, err := find(name, a.domain)
	if err != nil {
		return config.Destination{}, fmt.Errorf("%w: %w", errNoName, err)
	}
	if !a.listOf(user).Allows(d) {
		return d, &notAllowed{d, user}
	}
	return d, nil
}

// errNoName marks what is no name of a destination.
var errNoName = errors.New("only names of services can be reached through the mesh")

// notAllowed is a destination that a client may not be led to.
type notAllowed struct {
	to   config.Destination
	user string
}

func (e *notAllowed) Error() string {
	if e.user != "" {
		return fmt.Sprintf("by_name does not allow user %q to go to %s: add it to the user's allow", e.user, e.to.Pattern())
	}
	return fmt.Sprintf("by_name does not allow %s: add it to allow", e.to.Pattern())
}

// relayed completes the request of a client whose bytes are relayed.
func (s *Server) relayed(r listener.Request, in *bufio.Reader) listener.Request {
	d, _ := r.Destination.(config.Destination)
	r.Dial = func(ctx context.Context) (listener.Target, error) { return s.o.Target(ctx, d) }
	if n := in.Buffered(); n > 0 { // it has not waited for the answer
		sent, _ := in.Peek(n)
		r.Sent = append([]byte(nil), sent...)
	}
	return r
}

// refusal is err with its reason, where it is not that of the stage.
func refusal(err error) error {
	if errors.As(err, new(*notAllowed)) {
		return listener.WithReason(listener.ReasonDenied, err)
	}
	return err
}
