package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/agenttest/traffic"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/secure"
	"connect-proxy/upstream"
)

// showing answers with that certificate, and judges nobody.
func showing(cert tls.Certificate) listener.HandshakeFunc {
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert}
	return func(ctx context.Context, raw net.Conn) (listener.Session, error) {
		c, err := (&secure.Config{TLS: cfg}).Server(ctx, raw)
		return listener.Session{Conn: c}, err
	}
}

func TestAnInstanceMustProveTheExactIdentity(t *testing.T) {
	agent := fakeagent.New(t, fakeagent.Options{})
	foreign := fakeagent.New(t, fakeagent.Options{})
	var told error
	var who listener.SessionInfo
	var took time.Duration
	api := ready(t, running(t, Options{Client: agent.Client(""), Service: "api", Handshook: func(d time.Duration, s listener.SessionInfo, err error) {
		took, who, told = d, s, err
	}}))
	uri := agent.URI("web")
	for _, c := range []struct {
		name string
		cert tls.Certificate
		want string // in the error; empty: accepted
	}{
		{"the one asked for", agent.Certificate("web"), ""},
		{"another service", agent.Certificate("db"), "want " + uri + ", got " + agent.URI("db")},
		{"the same in another case", agent.Certificate("Web"), "got " + agent.URI("Web")},
		{"another datacenter", agent.Certificate(strings.Replace(uri, "/dc/dc1", "/dc/dc2", 1)), "want " + uri},
		{"another namespace", agent.Certificate(strings.Replace(uri, "default", "other", 1)), "/ns/other/"},
		{"a partition", agent.Certificate(strings.Replace(uri, "/ns/", "/ap/east/ns/", 1)), "/ap/east/"},
		{"another trust domain", agent.Certificate("spiffe://other.consul/ns/default/dc/dc1/svc/web"), "without a root"},
		{"another mesh", foreign.Certificate("web"), "without a root"},
		{"another mesh by our name", foreign.Certificate(uri), "unknown authority"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := visit(t, api, serve(t, "web", showing(c.cert)))
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (!errors.Is(err, upstream.ErrIdentity) || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			case err != nil && strings.Contains(err.Error(), "\n"):
				t.Errorf("more than a line: %q", err)
			}
			if took <= 0 || !errors.Is(err, told) || (err == nil) != (who.Peer == uri && who.TLSVersion == tls.VersionTLS13) {
				t.Errorf("of the handshake was told: %s, %+v, %v", took, who, told)
			}
		})
	}
}

func TestThePeerAndTheServerNameOfADialAreTheUpstreams(t *testing.T) {
	agent := fakeagent.New(t, fakeagent.Options{})
	web := ready(t, running(t, Options{Client: agent.Client(""), Service: "web"}))
	api := ready(t, running(t, Options{Client: agent.Client(""), Service: "api"}))
	for given, want := range map[string]string{
		"":                    "web.default.dc1.internal." + agent.TrustDomain(),
		"web.gateway.example": "web.gateway.example",
	} {
		here := serve(t, "web", web.Handshake(ServerTLS{}))
		here.ep.SNI = given
		here.ep.Identity.Datacenter = "" // the proxy's own
		c, err := api.Dial(t.Context(), here.ep)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.(*secure.Conn).Flush(); err != nil {
			t.Fatal(err)
		}
		if got := api.Session(c).Peer; got != agent.URI("web") {
			t.Errorf("peer %s", got)
		}
		s := <-here.sessions
		if got := s.Conn.(*secure.Conn).ConnectionState().ServerName; got != want {
			t.Errorf("asked for %s, want %s", got, want)
		}
		c.Close()
	}
	if got := api.Session(&net.TCPConn{}).Peer; got != "" {
		t.Errorf("a plain connection proved %s", got)
	}
}

func TestARefusalByTheInstanceIsNotAFailureToReachIt(t *testing.T) {
	agent := fakeagent.New(t, fakeagent.Options{})
	foreign := fakeagent.New(t, fakeagent.Options{})
	api := ready(t, running(t, Options{Client: agent.Client(""), Service: "api"}))
	picky := &tls.Config{
		Certificates: []tls.Certificate{agent.Certificate("web")}, MaxVersion: tls.VersionTLS12,
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: foreign.Pool(),
	}
	here := serve(t, "web", func(ctx context.Context, raw net.Conn) (listener.Session, error) {
		c, err := (&secure.Config{TLS: picky}).Server(ctx, raw)
		return listener.Session{Conn: c}, err
	})
	_, err := visit(t, api, here)
	if !errors.Is(err, upstream.ErrDenied) || !strings.Contains(err.Error(), "unknown certificate authority") {
		t.Errorf("got %v", err)
	}
}

func TestADialBeforeTheLeafIsHeldAndSaysWhatIsMissing(t *testing.T) {
	agent := fakeagent.New(t, fakeagent.Options{})
	web := ready(t, running(t, Options{Client: agent.Client(""), Service: "web"}))
	here := serve(t, "web", web.Handshake(ServerTLS{}))
	agent.Fail(traffic.Leaf, traffic.Fault{Status: 403, Body: "Permission denied"})
	api := running(t, Options{Client: agent.Client(""), Service: "api"})
	listenertest.Eventually(t, "the permission is named", func() bool { return strings.Contains(api.Problem(), `service:write on "api"`) })

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := api.Dial(ctx, here.ep)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `service:write on "api"`) {
		t.Errorf("got %v", err)
	}

	held := make(chan error, 1)
	go func() {
		_, err := visit(t, api, here)
		held <- err
	}()
	agent.Heal()
	if err := <-held; err != nil {
		t.Errorf("held: %v", err)
	}
}

func TestAStrangerGetsNoSession(t *testing.T) {
	agent := fakeagent.New(t, fakeagent.Options{})
	foreign := fakeagent.New(t, fakeagent.Options{})
	web := ready(t, running(t, Options{Client: agent.Client(""), Service: "web"}))
	here := serve(t, "web", web.Handshake(ServerTLS{MinVersion: tls.VersionTLS12}))
	for name, certs := range map[string][]tls.Certificate{
		"without a certificate": nil, "of another mesh": {foreign.Certificate("api")},
	} {
		raw, err := net.Dial("tcp", here.ep.Address)
		if err != nil {
			t.Fatal(err)
		}
		c := tls.Client(raw, &tls.Config{Certificates: certs, InsecureSkipVerify: true})
		_ = c.Handshake()
		select {
		case err := <-here.refused:
			if err == nil {
				t.Errorf("%s: refused for nothing", name)
			}
		case <-here.sessions:
			t.Errorf("%s: got a session", name)
		}
		c.Close()
	}
}

func TestTheSettingsOfTheListenersTLSAreHonoured(t *testing.T) {
	agent := fakeagent.New(t, fakeagent.Options{})
	web := ready(t, running(t, Options{Client: agent.Client(""), Service: "web"}))
	for _, c := range []struct {
		name      string
		o         ServerTLS
		client    *tls.Config
		want      string // the protocol
		wantError bool
	}{
		{"no protocol by default", ServerTLS{}, &tls.Config{NextProtos: []string{"h2", "http/1.1"}}, "", false},
		{"a protocol if asked for", ServerTLS{ALPN: []string{"h2"}}, &tls.Config{NextProtos: []string{"http/1.1", "h2"}}, "h2", false},
		{"TLS 1.2", ServerTLS{}, &tls.Config{MaxVersion: tls.VersionTLS12}, "", false},
		{"TLS 1.1", ServerTLS{}, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "", true},
		{"TLS 1.2 where 1.3 is the least", ServerTLS{MinVersion: tls.VersionTLS13}, &tls.Config{MaxVersion: tls.VersionTLS12}, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			here := serve(t, "web", web.Handshake(c.o))
			c.client.Certificates = []tls.Certificate{agent.Certificate("api")}
			c.client.InsecureSkipVerify = true
			conn, err := tls.Dial("tcp", here.ep.Address, c.client)
			if (err != nil) != c.wantError {
				t.Fatalf("got %v", err)
			}
			if err != nil {
				return
			}
			defer conn.Close()
			if got := conn.ConnectionState().NegotiatedProtocol; got != c.want {
				t.Errorf("protocol %q, want %q", got, c.want)
			}
		})
	}
}

func TestTwoRotationsOfTheRootRefuseNobody(t *testing.T) {
	agent := fakeagent.New(t, fakeagent.Options{})
	web := ready(t, running(t, Options{Client: agent.Client(""), Service: "web"}))
	api := ready(t, running(t, Options{Client: agent.Client(""), Service: "api"}))
	first := agent.Certificate("api") // a peer that is late to get a new leaf
	here := serve(t, "web", web.Handshake(ServerTLS{}))
	late := func() error {
		raw, err := net.Dial("tcp", here.ep.Address)
		if err != nil {
			return err
		}
		c := tls.Client(raw, &tls.Config{Certificates: []tls.Certificate{first}, InsecureSkipVerify: true})
		defer c.Close()
		var b [1]byte
		_, err = c.Read(b[:])
		return err
	}
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		var errs []error
		for n := 0; ; n++ {
			select {
			case <-stop:
				if n == 0 {
					errs = append(errs, errors.New("no traffic"))
				}
				done <- errors.Join(errs...)
				return
			default:
			}
			if _, err := visit(t, api, here); err != nil {
				errs = append(errs, err)
			}
			if err := late(); err != nil {
				errs = append(errs, err)
			}
			for len(here.sessions) > 0 {
				<-here.sessions
			}
		}
	}()
	for _, rotate := range []func(){agent.Rotate, func() {
		agent.Trust(listenertest.NewCA(t)) // of another trust domain
		agent.RenewLeaf("web")
		agent.RenewLeaf("api")
	}} {
		rotate()
		root := len(agent.Pool().Subjects()) //nolint:staticcheck // their number is all that matters
		for _, i := range []*Identity{web, api} {
			i.leaf.Refresh()
			i.roots.Refresh()
			listenertest.Eventually(t, "the roots are known and the leaf is under the active one", func() bool {
				s := i.Status()
				return len(s.Roots) == root && strings.Contains(s.SpiffeID, agent.TrustDomain()) && slices.Contains(s.Roots, s.ActiveRoot)
			})
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Errorf("refused: %v", err)
	}
}
