package connectproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/agenttest/traffic"
	"connect-proxy/connectproxy/authorize"
	"connect-proxy/connectproxy/identity"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/secure"
	"connect-proxy/upstream"
)

// pinnedIdentity has a certificate from elsewhere, and takes any client that has
// one.
type pinnedIdentity struct {
	cert  tls.Certificate
	ready chan struct{}

	mu      sync.Mutex // guards dialled
	dialled []string
}

func newPinned(cert tls.Certificate) *pinnedIdentity {
	i := &pinnedIdentity{cert: cert, ready: make(chan struct{})}
	close(i.ready)
	return i
}

func (i *pinnedIdentity) Run(ctx context.Context) error         { <-ctx.Done(); return ctx.Err() }
func (i *pinnedIdentity) Ready() <-chan struct{}                { return i.ready }
func (i *pinnedIdentity) Problem() string                       { return "" }
func (i *pinnedIdentity) Session(net.Conn) listener.SessionInfo { return listener.SessionInfo{} }
func (i *pinnedIdentity) Datacenter() string                    { return "" }
func (i *pinnedIdentity) Status() identity.Status               { return identity.Status{} }

func (i *pinnedIdentity) Handshake(identity.ServerTLS) listener.HandshakeFunc {
	cfg := &secure.Config{TLS: &tls.Config{Certificates: []tls.Certificate{i.cert}, ClientAuth: tls.RequireAnyClientCert}}
	return func(ctx context.Context, raw net.Conn) (listener.Session, error) {
		c, err := cfg.Server(ctx, raw)
		if err != nil {
			return listener.Session{}, err
		}
		peer := c.ConnectionState().PeerCertificates[0].URIs[0].String()
		return listener.Session{Conn: c, SessionInfo: listener.SessionInfo{Peer: peer}}, nil
	}
}

func (i *pinnedIdentity) Dial(_ context.Context, ep upstream.Endpoint) (net.Conn, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.dialled = append(i.dialled, ep.Identity.Service)
	return nil, errors.New("nobody is called here")
}

func (i *pinnedIdentity) calls() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.dialled)
}

// allowList lets the peers in it pass.
type allowList struct {
	allowed []string
	live    authorize.Peers
}

func (a *allowList) Watch(p authorize.Peers)  { a.live = p }
func (a *allowList) Status() authorize.Status { return authorize.Status{} }
func (a *allowList) Reason(string) string     { return "" }

func (a *allowList) Run(ctx context.Context) error {
	a.live.ClosePeers(func(peer string) bool { return !slices.Contains(a.allowed, peer) }, listener.ReasonIntentionRevoked)
	<-ctx.Done()
	return ctx.Err()
}

func (a *allowList) Authorize(_ context.Context, s listener.Session) error {
	if !slices.Contains(a.allowed, s.Peer) {
		return &listener.Denied{Reason: "not in the list"}
	}
	return nil
}

func TestAnIdentityAndAnAllowListOfTheUsersOwnTakeConsulsPlace(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	allowed := []string{agent.URI("web"), agent.URI("api")}
	port := agenttest.FreePort(t)
	c := serving("db", port, listenertest.NewEcho(t).Addr())
	c.MaxStaleAuthorization = time.Minute
	e := startEngine(t, agent, c, func(o *Options) {
		o.Identity = func(o IdentityOptions) Identity {
			if o.Service != "db" {
				t.Errorf("an identity for %+v", o)
			}
			return newPinned(agent.Certificate("elsewhere"))
		}
		o.Authorizer = func(o AuthorizerOptions) Authorizer {
			if o.MaxStale > time.Minute {
				return &allowList{allowed: allowed[:1]}
			}
			return &allowList{allowed: allowed}
		}
	}).ready()
	web, api := dialPublic(t, agent, "web", port), dialPublic(t, agent, "api", port)
	web.echo("allowed")
	api.echo("allowed")
	dialPublic(t, agent, "stranger", port).ends()
	if got := peerShown(t, agent, port); got != agent.URI("elsewhere") {
		t.Errorf("the proxy shows itself as %s", got)
	}
	for _, what := range []traffic.Endpoint{traffic.Leaf, traffic.Roots, traffic.Authorize} {
		if n := agent.Counts(what).Requests; n != 0 {
			t.Errorf("%d requests for %v, which nobody needs", n, what)
		}
	}

	c.MaxStaleAuthorization = time.Hour // another list
	e.apply(c)
	api.ends()
	dialPublic(t, agent, "api", port).ends()
	web.echo("still allowed")
	dialPublic(t, agent, "web", port).echo("allowed again")
}

func TestEachUpstreamIsDialledByTheIdentityItNames(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 2)
	made := map[string]*pinnedIdentity{}
	p, err := New(Options{
		Source: &feed{}, Client: agent.Client(""),
		Identity: func(o IdentityOptions) Identity {
			made[o.Service] = newPinned(tls.Certificate{})
			return made[o.Service]
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := calling("web", to("db", port), to("cache", port+1)).WithDefaults()
	base, kill := context.WithCancel(t.Context())
	defer kill()
	asking := startTask(base, p.catalog.Run)
	defer asking.stop()
	l := newLoop(p)
	defer l.close()
	d := translate(&c)
	d.identities = append(d.identities, namedIdentity{"files", IdentityOptions{Service: "files"}})
	d.specs[1].identity = "files"
	l.config = &config.Config{}
	l.setDesired(base, d)
	l.reconcile(base)
	l.publish()
	for n, service := range []string{"db", "cache"} {
		agent.Instance(service, 1)
		as := made[[]string{"web", "files"}[n]]
		agenttest.Eventually(t, soon, func() error {
			knock(port + n)
			if got := as.calls(); len(got) == 0 || slices.ContainsFunc(got, func(s string) bool { return s != service }) {
				return errors.New(service + " was not dialled by the identity it names")
			}
			return nil
		})
	}

	d = translate(&c) // both by the service's own
	l.setDesired(base, d)
	l.reconcile(base)
	if len(l.principals) != 1 {
		t.Errorf("%d principals for one identity", len(l.principals))
	}
	before := len(made["web"].calls())
	knock(port + 1)
	if got := made["web"].calls(); len(got) == before || got[len(got)-1] != "cache" {
		t.Errorf("dialled %v", got)
	}
}

// knock connects and waits for the end, which may come before the connection is
// known to be there.
func knock(port int) {
	c, err := net.Dial("tcp", at(port))
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(soon))
	_, _ = io.Copy(io.Discard, c)
}
