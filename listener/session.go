package listener

import (
	"context"
	"net"
	"net/netip"

	"connect-proxy/listener/secure"
)

// Session is what a handshake made of an accepted connection.
type Session struct {
	// Conn carries the application's bytes and closes the accepted socket when
	// it is closed. Read returns io.EOF only where the client has said that it has
	// sent everything, or what was cut short is taken for the whole: a *secure.Conn
	// does so, while crypto/tls returns it also where the transport just ends.
	Conn net.Conn
	SessionInfo
}

// SessionInfo is what a TLS handshake established about the other side. It is
// comparable, and kept as a whole in Open and Summary.
type SessionInfo struct {
	// Peer is the SPIFFE ID that the other side proved.
	Peer string
	// Serial is its certificate's, as the agent wants it: hex with colons.
	Serial string
	// TLSVersion is tls.VersionTLS12 or tls.VersionTLS13; zero if unknown.
	TLSVersion uint16
	// CipherSuite is one of crypto/tls's identifiers; zero if unknown.
	CipherSuite uint16
	// ServerName is the name that the client asked for (RFC 6066 3), whatever it
	// may hold, or its beginning where it is too long to be a host's; empty if it
	// asked for none.
	ServerName string
	// Resumed reports whether the client came with a session ticket.
	Resumed bool
}

// HandshakeFunc makes a Session of an accepted connection. The deadline of
// HandshakeTimeout is set on raw, and whoever ends the connection closes raw, so
// the function needs no timer or goroutine of its own: ctx carries the deadline
// and is never cancelled. On error raw stays the Listener's to close.
type HandshakeFunc func(ctx context.Context, raw net.Conn) (Session, error)

// AuthorizeFunc decides whether a peer may pass: nil, a *Denied, or another error
// where nobody can say, which refuses too. It returns soon after ctx is done: the
// client is held until then.
type AuthorizeFunc func(ctx context.Context, s Session) error

// Instance describes a far side.
type Instance struct {
	// Address is the address dialled.
	Address string
	// ID is the catalog's, as "node/service-id"; empty for the local
	// application.
	ID string
	// Attempts is how many instances were dialled for this connection, this one
	// among them.
	Attempts int
	// Session is the TLS session with it; its zero value is a plain connection.
	Session SessionInfo
}

// Target is the far side of an accepted connection, as a DialFunc opened it.
type Target struct {
	// Conn carries the application's bytes.
	Conn net.Conn
	// Instance says where it leads.
	Instance Instance
	// Release, Answered and Failed say that the connection has ended. One of them
	// is called, once, after Conn is closed; each may be nil, and Release takes the
	// place of the others then. They must not block.
	Release func()
	// Answered is called where the far side had sent something.
	Answered func()
	// Failed is called where the far side took the connection and ended it with
	// err at once, without having sent anything.
	Failed func(err error)
	// Next is called in place of these where the far side refused the connection
	// with err before anything was delivered. It opens another far side, under
	// DialFunc's rules, or returns why there is none. Nil means that the refusal
	// ends the connection.
	Next func(ctx context.Context, why secure.Refusal, err error) (Target, error)
}

// DialFunc opens the far side for one accepted connection. It ends when ctx
// does, which carries DialTimeout; ClientAddr says whom it is for. An error made with WithReason is counted
// under that reason.
type DialFunc func(ctx context.Context) (Target, error)

type clientContextKey struct{}

// ClientAddr returns the address of the client that a DialFunc, or a Target's Next,
// was called for, by their context or one made of it. It is the zero value where
// ctx is neither, or the client came over a Unix socket. It allocates nothing.
func ClientAddr(ctx context.Context) netip.AddrPort {
	if a, ok := ctx.Value(clientContextKey{}).(*net.TCPAddr); ok {
		return a.AddrPort()
	}
	return netip.AddrPort{}
}
