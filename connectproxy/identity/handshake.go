package identity

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"time"

	"connect-proxy/connectproxy/mtls"
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
func (i *Identity) Handshake(o ServerTLS) listener.HandshakeFunc {
	s := &serverConfigs{o: o}
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

// session returns who a finished handshake was with. It asks the verifier, which
// has just been asked by the handshake itself and remembers; should the roots or
// the mesh's bounds have changed in between, the peer is judged by the new ones.
func (i *Identity) session(conn *secure.Conn) (listener.Session, error) {
	cs := conn.ConnectionState()
	p, err := i.verify(cs.PeerCertificates, clientAuth)
	if err != nil {
		return listener.Session{}, err
	}
	if err := i.current.Load().mesh.incoming.check(cs); err != nil {
		return listener.Session{}, err
	}
	return listener.Session{Conn: conn, SessionInfo: mtls.SessionInfo(cs, p.uri, p.serial)}, nil
}

// Session describes the TLS session of a connection that Dial has opened.
func (i *Identity) Session(c net.Conn) listener.SessionInfo {
	sc, ok := c.(*secure.Conn)
	if !ok {
		return listener.SessionInfo{}
	}
	cs := sc.ConnectionState()
	return mtls.SessionInfo(cs, i.peerOf(sc, cs.PeerCertificates), "")
}

// verify judges a peer's certificates by the latest roots. Where it is a root
// that is missing, the agent is asked for newer ones: in a rotation a peer may
// show its new leaf a moment before the root is known here.
func (i *Identity) verify(certs []*x509.Certificate, usage x509.ExtKeyUsage) (*peer, error) {
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
func (i *Identity) awaitRoots(changed <-chan struct{}) bool {
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
func (i *Identity) Dial(ctx context.Context, ep upstream.Endpoint) (net.Conn, error) {
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
	began := time.Now()
	conn, err := i.shakeHands(ctx, raw, g.client(ep))
	took := time.Since(began)
	if err != nil {
		raw.Close()
		i.o.Handshook(took, listener.SessionInfo{}, err)
		return nil, err
	}
	i.o.Handshook(took, i.Session(conn), nil)
	return conn, nil
}

// shakeHands makes a TLS connection of one that Dial has opened.
func (i *Identity) shakeHands(ctx context.Context, raw net.Conn, c *mtls.ClientTLS) (*secure.Conn, error) {
	conn, err := c.Handshake(ctx, raw)
	if err != nil {
		return nil, err
	}
	if err := i.current.Load().mesh.outgoing.check(conn.ConnectionState()); err != nil {
		return nil, err
	}
	return conn, nil
}
