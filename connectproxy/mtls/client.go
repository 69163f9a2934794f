package mtls

import (
	"context"
	"net"

	"connect-proxy/listener/secure"
)

// ClientTLS is how to reach one instance under one expected identity: the TLS
// configuration, whose ClientSessionCache is Session. It is safe for concurrent use.
type ClientTLS struct {
	// Config is what the handshake is made by.
	Config *secure.Config
	// Session is what its tickets are kept in.
	Session *ClientSession
}

// Handshake makes a TLS connection of raw, which it leaves to the caller to close
// where that fails. errors.Is finds in an error what upstream goes by:
// upstream.ErrIdentity and upstream.ErrClock of our own judgement stay, an alert of
// RFC 8446 6.2 is upstream.ErrDenied, and the alert certificate_expired
// upstream.ErrClock. Any other is a fault of the network or of TLS.
func (c *ClientTLS) Handshake(ctx context.Context, raw net.Conn) (*secure.Conn, error) {
	conn, err := c.Config.Client(ctx, raw)
	if err != nil {
		// Whatever was wrong, the session offered must not be part of it again.
		c.Session.Forget()
		return nil, dialError(err)
	}
	return conn, nil
}
