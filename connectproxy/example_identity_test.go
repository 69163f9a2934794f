package connectproxy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"connect-proxy/config"
	"connect-proxy/connectproxy"
	"connect-proxy/connectproxy/authorize"
	"connect-proxy/connectproxy/identity"
	"connect-proxy/listener"
	"connect-proxy/listener/secure"
	"connect-proxy/upstream"
)

// ownIdentity is a leaf certificate, whose URI says whose it is, and the roots by
// which peers are verified. One that replaces them holds both behind an
// atomic.Pointer, and looks for others in Run.
type ownIdentity struct {
	leaf  tls.Certificate
	roots *x509.CertPool
	ready chan struct{}
}

func newOwnIdentity(leaf tls.Certificate, roots *x509.CertPool) *ownIdentity {
	i := &ownIdentity{leaf: leaf, roots: roots, ready: make(chan struct{})}
	close(i.ready) // there is a leaf
	return i
}

func (i *ownIdentity) Run(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
func (i *ownIdentity) Ready() <-chan struct{}        { return i.ready }
func (i *ownIdentity) Problem() string               { return "" }
func (i *ownIdentity) Datacenter() string            { return "" }
func (i *ownIdentity) Status() identity.Status {
	return identity.Status{SpiffeID: i.leaf.Leaf.URIs[0].String(), LeafNotAfter: i.leaf.Leaf.NotAfter}
}

// Handshake verifies clients; who of them may call is the Authorizer's to say.
func (i *ownIdentity) Handshake(o identity.ServerTLS) listener.HandshakeFunc {
	cfg := &secure.Config{OwnRecords: true, TLS: &tls.Config{
		MinVersion: max(o.MinVersion, tls.VersionTLS12), NextProtos: o.ALPN,
		Certificates: []tls.Certificate{i.leaf},
		ClientAuth:   tls.RequireAnyClientCert,
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := i.peer(s, x509.ExtKeyUsageClientAuth)
			return err
		},
	}}
	return func(ctx context.Context, raw net.Conn) (listener.Session, error) {
		c, err := cfg.Server(ctx, raw)
		if err != nil {
			return listener.Session{}, err
		}
		return listener.Session{Conn: c, SessionInfo: i.Session(c)}, nil
	}
}

// Dial reaches an instance of a service, which must have that service's URI.
func (i *ownIdentity) Dial(ctx context.Context, ep upstream.Endpoint) (net.Conn, error) {
	raw, err := listener.NewDialer().DialContext(ctx, "tcp", ep.Address)
	if err != nil {
		return nil, err
	}
	cfg := &secure.Config{OwnRecords: true, TLS: &tls.Config{
		Certificates:       []tls.Certificate{i.leaf},
		InsecureSkipVerify: true, // the leaf has a URI, and no host name: VerifyConnection verifies it
		VerifyConnection: func(s tls.ConnectionState) error {
			got, err := i.peer(s, x509.ExtKeyUsageServerAuth)
			if err != nil {
				return fmt.Errorf("%w: %w", upstream.ErrIdentity, err)
			}
			if want := spiffeID(ep.Identity.Service); got != want {
				return fmt.Errorf("%w: %s is not %s", upstream.ErrIdentity, got, want)
			}
			return nil
		},
	}}
	c, err := cfg.Client(ctx, raw)
	if err != nil {
		raw.Close()
		return nil, err
	}
	return c, nil
}

// peer returns the URI of the other side, whose certificate leads to one of the
// roots. It is called for resumed sessions too.
func (i *ownIdentity) peer(s tls.ConnectionState, usage x509.ExtKeyUsage) (string, error) {
	leaf, between := s.PeerCertificates[0], x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: i.roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
		return "", err
	}
	if len(leaf.URIs) != 1 {
		return "", errors.New("a certificate without a URI, or with several")
	}
	return leaf.URIs[0].String(), nil
}

// Session describes a connection of Handshake or Dial: both have verified it.
func (i *ownIdentity) Session(c net.Conn) listener.SessionInfo {
	s := c.(*secure.Conn).ConnectionState()
	return listener.SessionInfo{
		Peer: s.PeerCertificates[0].URIs[0].String(), TLSVersion: s.Version, CipherSuite: s.CipherSuite, Resumed: s.DidResume,
	}
}

// ownAuthorizer lets some services call.
type ownAuthorizer struct {
	allowed []string
	open    authorize.Peers
}

func (a *ownAuthorizer) Watch(p authorize.Peers)  { a.open = p }
func (a *ownAuthorizer) Reason(string) string     { return "the program's own list" }
func (a *ownAuthorizer) Status() authorize.Status { return authorize.Status{} }

func (a *ownAuthorizer) Authorize(_ context.Context, s listener.Session) error {
	if !slices.Contains(a.allowed, s.Peer) {
		return &listener.Denied{Reason: "not in the program's own list"}
	}
	return nil
}

// Run closes what another Authorizer has let in before. One whose list changes
// does so after each change.
func (a *ownAuthorizer) Run(ctx context.Context) error {
	a.open.ClosePeers(func(peer string) bool { return !slices.Contains(a.allowed, peer) }, listener.ReasonIntentionRevoked)
	<-ctx.Done()
	return ctx.Err()
}

func spiffeID(service string) string { return "spiffe://example.org/" + service }

// ownParts has a service be by a leaf of its own, believe those of a CA, serve web
// and nobody else, and find others at one address.
func ownParts(ca *exampleCA, service, address string) connectproxy.Options {
	return connectproxy.Options{
		Identity: func(connectproxy.IdentityOptions) connectproxy.Identity {
			return newOwnIdentity(ca.leaf(spiffeID(service)), ca.roots)
		},
		Authorizer: func(connectproxy.AuthorizerOptions) connectproxy.Authorizer {
			return &ownAuthorizer{allowed: []string{spiffeID("web")}}
		},
		Resolvers: map[config.DestinationType]func(config.Destination) connectproxy.Resolver{
			config.Service: func(d config.Destination) connectproxy.Resolver {
				instance := upstream.Endpoint{ID: d.Name + "-1", Address: address, Identity: upstream.Identity{Service: d.Name}}
				return found{upstream.Fixed(d.Name, upstream.Set{Endpoints: []upstream.Endpoint{instance}})}
			},
		},
	}
}

// found is a Resolver of instances that do not change.
type found struct{ upstream.Resolver }

func (found) Run(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// A mesh without Consul: who a program is, whom it believes, who may call it and
// where others are is its own to say.
func Example_ownIdentity() {
	ca := newExampleCA()
	ctx, cancel := context.WithCancel(context.Background())
	port := freePort()
	var ended []chan error
	run := func(service string, c config.Config, in *listener.InProcess) *connectproxy.Proxy {
		c.Service = service
		source, err := config.NewStatic(c)
		must(err)
		o := ownParts(ca, service, fmt.Sprint("127.0.0.1:", port))
		o.Source, o.InProcess = source, in
		proxy, err := connectproxy.New(o)
		must(err)
		done := make(chan error, 1)
		go func() { done <- proxy.Run(ctx) }()
		ended = append(ended, done)
		return proxy
	}

	callers := listener.NewInProcess()
	server := run("greeter", config.Config{Public: &config.Public{Bind: config.Address{Host: "127.0.0.1", Port: port}}}, callers)
	awaitReady(server)
	go func() {
		for {
			c, err := callers.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "hello, ", strings.TrimPrefix(c.(*listener.Conn).Peer(), spiffeID("")))
			c.Close()
		}
	}()

	for _, service := range []string{"web", "batch"} {
		client := run(service, config.Config{Upstreams: []config.Upstream{{Destination: config.Destination{Name: "greeter"}}}}, nil)
		c, err := client.Dial(ctx, "greeter")
		must(err)
		text, err := io.ReadAll(c)
		c.Close()
		fmt.Printf("%s: %q, denied: %t\n", service, text, errors.Is(err, upstream.ErrDenied))
	}
	cancel()
	for _, done := range ended {
		must(<-done)
	}
	// Output:
	// web: "hello, web", denied: false
	// batch: "", denied: true
}
