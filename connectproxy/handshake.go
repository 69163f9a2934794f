package connectproxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"connect-proxy/listener"
	"connect-proxy/listener/secure"
	"connect-proxy/upstream"
)

const (
	// rootsWait is how long a handshake waits for newer roots where those at
	// hand do not know the peer's, and rootsGap the least time between two
	// questions for them, since a stranger can bring them about.
	rootsWait = 500 * time.Millisecond
	rootsGap  = 5 * time.Second
)

// Handshake answers clients with the settings o.
func (i *identity) Handshake(o serverTLS) listener.HandshakeFunc {
	s := &servers{o: o}
	return func(ctx context.Context, raw net.Conn) (listener.Session, error) {
		g, err := i.usable()
		if err != nil {
			return listener.Session{}, err
		}
		conn, err := s.config(g).Server(ctx, raw)
		if err != nil {
			return listener.Session{}, err
		}
		return i.session(conn)
	}
}

// session says who a finished handshake was with. It asks the verifier, which
// has just been asked by the handshake itself and remembers; should the roots
// have changed in between, the peer is judged by the new ones.
func (i *identity) session(conn *secure.Conn) (listener.Session, error) {
	cs := conn.ConnectionState()
	p, err := i.verify(cs.PeerCertificates, clientAuth)
	if err != nil {
		return listener.Session{}, err
	}
	return listener.Session{Conn: conn, SessionInfo: listener.SessionInfo{
		Peer: p.uri, Serial: p.serial, TLSVersion: cs.Version, CipherSuite: cs.CipherSuite, ServerName: cs.ServerName, Resumed: cs.DidResume,
	}}, nil
}

// verify judges a peer's certificates by the latest roots. Where it is a root
// that is missing, the agent is asked for newer ones: in a rotation a peer may
// show its new leaf a moment before we hear of the root.
func (i *identity) verify(certs []*x509.Certificate, usage x509.ExtKeyUsage) (*peer, error) {
	changed := i.roots.Changed()
	r, ok := i.roots.Latest()
	if !ok {
		return nil, errNotReady
	}
	p, err := r.verifier.verify(certs, usage)
	if err == nil || !lacksRoot(err) || !i.awaitRoots(changed) {
		return p, err
	}
	r, _ = i.roots.Latest()
	return r.verifier.verify(certs, usage)
}

// awaitRoots asks for newer roots, unless that was done a moment ago, and
// reports whether they came.
func (i *identity) awaitRoots(changed <-chan struct{}) bool {
	now := time.Now()
	i.mu.Lock()
	if now.Sub(i.refreshed) >= rootsGap {
		i.refreshed = now
		i.roots.Refresh()
	}
	left := rootsWait - now.Sub(i.refreshed)
	i.mu.Unlock()
	t := time.NewTimer(max(left, 0))
	defer t.Stop()
	select {
	case <-changed:
		return true
	case <-t.C:
		return false
	}
}

// Dial opens a TLS connection to an instance, which must prove the endpoint's
// identity exactly. It waits for the first certificates as long as ctx allows.
// The connection is a *secure.Conn. An error is upstream.ErrIdentity where the
// instance proved another identity or none, upstream.ErrClock where one of the
// certificates is not valid by one of the clocks, and upstream.ErrDenied where
// the instance refused ours.
func (i *identity) Dial(ctx context.Context, ep upstream.Endpoint) (net.Conn, error) {
	select {
	case <-i.ready:
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for certificates: %w: %w", ctx.Err(), i.problem())
	}
	g, err := i.usable()
	if err != nil {
		return nil, err
	}
	raw, err := i.dialer.DialContext(ctx, "tcp", ep.Address)
	if err != nil {
		return nil, err
	}
	c := g.client(ep)
	conn, err := c.config.Client(ctx, raw)
	if err != nil {
		raw.Close()
		// Whatever was wrong, the session offered must not be part of it again.
		c.session.forget()
		return nil, handshakeError(err)
	}
	return conn, nil
}

// certificateExpired is the alert of RFC 8446 6.2, also for a certificate whose
// time has not come.
const certificateExpired tls.AlertError = 45

// handshakeError sorts out why a handshake of ours with an instance failed.
func handshakeError(err error) error {
	var op *net.OpError
	switch {
	case errors.Is(err, upstream.ErrIdentity), errors.Is(err, upstream.ErrClock):
		return err
	case errors.As(err, &op) && op.Op == "remote error" && op.Err.Error() == certificateExpired.Error():
		return fmt.Errorf("%w: the instance takes our certificate for expired or not valid yet: %w", upstream.ErrClock, op.Err)
	case errors.As(err, &op) && op.Op == "remote error": // an alert
		return fmt.Errorf("%w: %w", upstream.ErrDenied, op.Err)
	}
	return fmt.Errorf("TLS handshake: %w", err)
}
