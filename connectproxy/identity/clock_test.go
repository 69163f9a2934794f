package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/mtls"
	"connect-proxy/listener"
	"connect-proxy/listener/secure"
	"connect-proxy/upstream"

	"github.com/hashicorp/go-hclog"
)

// turned is a clock that a test sets.
type turned struct{ by atomic.Int64 }

func (c *turned) now() time.Time      { return time.Now().Add(time.Duration(c.by.Load())) }
func (c *turned) set(d time.Duration) { c.by.Store(int64(d)) }

// clocked runs the identity of "web" in a bubble under a clock that can be set.
func clocked(t *testing.T, by time.Duration, prepare func(*fakeagent.Agent), test func(*testing.T, *Identity, *fakeagent.Agent, *turned, *agenttest.Log)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		agent, clock, log := fakeagent.New(t, fakeagent.Options{InMemory: true}), &turned{}, &agenttest.Log{}
		lasts(agent, 0, time.Hour)
		clock.set(by)
		if prepare != nil {
			prepare(agent)
		}
		i := New(Options{Client: agent.Client(""), Service: "web", Now: clock.now, Logger: hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Debug})})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- i.Run(ctx) }()
		pass(2 * time.Second)
		test(t, i, agent, clock, log)
		cancel()
		<-done
	})
}

func isReady(i *Identity) bool {
	select {
	case <-i.Ready():
		return true
	default:
		return false
	}
}

func TestALeafThatIsNotValidYetMakesNothingReadyAndTheClockIsNamed(t *testing.T) {
	clocked(t, -2*time.Hour, nil, func(t *testing.T, i *Identity, agent *fakeagent.Agent, clock *turned, log *agenttest.Log) {
		starts := i.current.Load().leaf.cert.Leaf.NotBefore
		pass(time.Minute)
		for _, want := range []string{"leaf certificate is not valid before " + timestamp(starts), "the clock here says " + timestamp(clock.now())} {
			if p := i.Problem(); !strings.Contains(p, want) {
				t.Errorf("problem %q does not say %q", p, want)
			}
		}
		if isReady(i) || strings.Contains(log.String(), "in force") || strings.Count(log.String(), "cannot be used by this clock") != 1 {
			t.Errorf("ready %v, log:\n%s", isReady(i), log)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := i.Dial(ctx, upstream.Endpoint{Address: "127.0.0.1:1"}); err == nil || !strings.Contains(err.Error(), "the clock here says") {
			t.Errorf("a dial: %v", err)
		}
		clock.set(0)
		pass(2 * time.Second)
		if !isReady(i) || i.Problem() != "" || strings.Count(log.String(), "certificates in force") != 1 {
			t.Errorf("with the clock set right: ready %v, problem %q, log:\n%s", isReady(i), i.Problem(), log)
		}
		clock.set(-24 * time.Hour)
		if p := i.Problem(); !strings.Contains(p, "is not valid before") {
			t.Errorf("after a jump back: %q", p)
		}
	})
}

func TestAClockThatIsALittleBehindIsForgiven(t *testing.T) {
	early := func(a *fakeagent.Agent) { lasts(a, 0, time.Hour) }
	clocked(t, -mtls.ClockSkew+time.Second, early, func(t *testing.T, i *Identity, _ *fakeagent.Agent, _ *turned, _ *agenttest.Log) {
		if !isReady(i) || i.Problem() != "" {
			t.Errorf("ready %v, problem %q", isReady(i), i.Problem())
		}
	})
}

func TestALeafOfTheFutureWaitsBehindAValidOne(t *testing.T) {
	clocked(t, 0, func(a *fakeagent.Agent) { lasts(a, 0, 3*time.Hour) }, func(t *testing.T, i *Identity, agent *fakeagent.Agent, _ *turned, _ *agenttest.Log) {
		serial := i.Status().LeafSerial
		lasts(agent, time.Hour, 6*time.Hour)
		pass(30 * time.Minute)
		if s := i.Status(); s.LeafSerial != serial || s.Problem != "" {
			t.Errorf("before its time: %+v", s)
		}
		pass(31 * time.Minute)
		if s := i.Status(); s.LeafSerial == serial || s.Problem != "" {
			t.Errorf("after it began: %+v", s)
		}
	})
}

func TestAnExpiredLeafNamesTheClockToo(t *testing.T) {
	clocked(t, 0, nil, func(t *testing.T, i *Identity, _ *fakeagent.Agent, clock *turned, _ *agenttest.Log) {
		clock.set(30 * 24 * time.Hour)
		if p := i.Problem(); !strings.Contains(p, "leaf certificate has expired at ") || !strings.Contains(p, "the clock here says "+timestamp(clock.now())) {
			t.Errorf("problem %q", p)
		}
	})
}

// The leaf is valid and what vouches for it is not: peers would refuse it all
// the same.
func TestARootThatIsNotValidIsNamedAsTheClocks(t *testing.T) {
	for name, c := range map[string]struct {
		from, until time.Duration
		want        string
	}{
		"not yet": {2 * time.Hour, 48 * time.Hour, `the CA certificate "mesh" is not valid before`},
		"expired": {-48 * time.Hour, -time.Hour, `the CA certificate "mesh" has expired at`},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			ca := newIssuer(t, called("mesh", lasting(now.Add(c.from), now.Add(c.until))), nil)
			cert := ca.leaf(lasting(now.Add(-time.Minute), now.Add(time.Hour)), "spiffe://mesh.consul/ns/default/dc/dc1/svc/web")
			l := &leafCert{}
			l.cert.Leaf, l.cert.Certificate = cert, [][]byte{cert.Raw}
			w := windowOf(l, &rootSet{verifier: trusting(time.Now, ca)}, now)
			if err := w.check(now); !isClockError(err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			_, err := trusting(time.Now, ca).verify([]*x509.Certificate{cert}, serverAuth)
			if !isClockError(err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("of a peer: %v", err)
			}
		})
	}
}

// pinned is a certificate of a service with that validity.
func pinned(t *testing.T, agent *fakeagent.Agent, service string, from, until time.Time) tls.Certificate {
	t.Helper()
	agent.PinLeaf(service, from, until)
	answer, _, err := agent.Client("").Agent().ConnectCALeaf(service, nil)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair([]byte(answer.CertPEM), []byte(answer.PrivateKeyPEM))
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestAPeersCertificateOutOfItsTimeIsAMatterOfClocksAndNotOfIdentity(t *testing.T) {
	agent := fakeagent.New(t, fakeagent.Options{})
	now := time.Now()
	caller := ready(t, running(t, Options{Client: agent.Client(""), Service: "api"}))
	for name, c := range map[string]struct {
		cert tls.Certificate
		want string
	}{
		"not valid yet": {pinned(t, agent, "web", now.Add(time.Hour), now.Add(2*time.Hour)), "is not valid before " + timestamp(now.Add(time.Hour))},
		"expired":       {pinned(t, agent, "web", now.Add(-2*time.Hour), now.Add(-time.Hour)), "has expired at " + timestamp(now.Add(-time.Hour))},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := visit(t, caller, serve(t, "web", showing(c.cert)))
			if !errors.Is(err, upstream.ErrClock) || errors.Is(err, upstream.ErrIdentity) {
				t.Fatalf("got %v", err)
			}
			for _, want := range []string{agent.URI("web"), c.want, "the clock here says "} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestAnInstanceThatTakesOurCertificateForExpiredIsAMatterOfClocks(t *testing.T) {
	agent := fakeagent.New(t, fakeagent.Options{})
	caller := ready(t, running(t, Options{Client: agent.Client(""), Service: "api"}))
	ahead := &tls.Config{
		Certificates: []tls.Certificate{agent.Certificate("web")}, MaxVersion: tls.VersionTLS12,
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: agent.Pool(),
		Time: func() time.Time { return time.Now().Add(100 * time.Hour) },
	}
	_, err := visit(t, caller, serve(t, "web", func(ctx context.Context, raw net.Conn) (listener.Session, error) {
		c, err := (&secure.Config{TLS: ahead}).Server(ctx, raw)
		return listener.Session{Conn: c}, err
	}))
	if !errors.Is(err, upstream.ErrClock) || errors.Is(err, upstream.ErrDenied) {
		t.Errorf("got %v", err)
	}
}
