package static

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"weak"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest/testca"
	"connect-proxy/connectproxy/identity"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
	"connect-proxy/upstream"
)

func TestMain(m *testing.M) { listenertest.Leaks(m) }

// running is an identity of the files in dir, which are looked at often.
func running(t *testing.T, dir string) *Identity {
	t.Helper()
	i := New(Options{Interval: 10 * time.Millisecond, Files: config.CertificateFiles{
		Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), CA: filepath.Join(dir, "ca.pem"),
	}})
	listenertest.Run(t, i.Run)
	return i
}

// written is a directory with a certificate of the CA for the names.
func written(t *testing.T, ca *testca.CA, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	ca.Write(t, dir, ca.Issue(t, names))
	return dir
}

// answering serves handshakes by i until the test ends, each with a byte or with
// the end of the connection.
func answering(t *testing.T, i *Identity) upstream.Endpoint {
	t.Helper()
	handshake := i.Handshake(identity.ServerTLS{})
	s := listenertest.NewServer(t, func(raw *net.TCPConn) {
		_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		session, err := handshake(ctx, raw)
		if err != nil {
			return
		}
		_, _ = session.Conn.Write([]byte("x"))
		session.Conn.Close()
	})
	return upstream.Endpoint{Address: s.Addr(), Identity: upstream.Identity{Host: "127.0.0.1"}}
}

// visit dials and reads the byte.
func visit(t *testing.T, i *Identity, ep upstream.Endpoint) (resumed bool, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := i.Dial(ctx, ep)
	if err != nil {
		return false, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = c.Read(make([]byte, 1))
	return i.Session(c).Resumed, err
}

func TestAResumedSessionIsJudgedByTheCAInForce(t *testing.T) {
	ours, others := testca.New(t, "ours"), testca.New(t, "others")
	dir := written(t, ours, "ip:127.0.0.1")
	server, client := running(t, dir), running(t, written(t, ours, "cn:web"))
	ep := answering(t, server)
	if _, err := visit(t, client, ep); err != nil {
		t.Fatal(err)
	}
	if resumed, err := visit(t, client, ep); err != nil || !resumed {
		t.Fatalf("resumed %t, %v", resumed, err)
	}
	// The server keeps its certificate, and trusts another CA from now on.
	testca.WriteFile(t, filepath.Join(dir, "ca.pem"), others.PEM)
	listenertest.Eventually(t, "the CA is replaced", func() bool { return server.Status().Generation == 2 })
	if resumed, err := visit(t, client, ep); err == nil || resumed {
		t.Errorf("a client of the CA of before was served: resumed %t", resumed)
	}
	testca.WriteFile(t, filepath.Join(dir, "ca.pem"), others.PEM+ours.PEM)
	listenertest.Eventually(t, "the CA is back", func() bool { return server.Status().Generation == 3 })
	if resumed, err := visit(t, client, ep); err != nil || resumed {
		t.Errorf("by a CA that is back: resumed %t, %v", resumed, err)
	}
}

// A ticket's keys are its generation's. This holds the other lock: the verdict of
// a resumed session itself is by the latest CAs.
func TestATicketOfTheGenerationInForceIsStillVerified(t *testing.T) {
	ours, others := testca.New(t, "ours"), testca.New(t, "others")
	server, client := running(t, written(t, ours, "ip:127.0.0.1")), running(t, written(t, ours, "cn:web"))
	ep := answering(t, server)
	if _, err := visit(t, client, ep); err != nil {
		t.Fatal(err)
	}
	server.current.Load().verifier.roots.Pool = others.Pool() // and nothing else is new
	server.current.Load().verifier.verified = newVerifier(nil, nil, time.Now).verified
	if resumed, err := visit(t, client, ep); err == nil {
		t.Errorf("served, resumed %t", resumed)
	}
}

func TestAClientForgetsSessionsWithItsCA(t *testing.T) {
	ours, others := testca.New(t, "ours"), testca.New(t, "others")
	dir := written(t, ours, "cn:web")
	server, client := running(t, written(t, ours, "ip:127.0.0.1")), running(t, dir)
	ep := answering(t, server)
	for range 2 {
		if _, err := visit(t, client, ep); err != nil {
			t.Fatal(err)
		}
	}
	testca.WriteFile(t, filepath.Join(dir, "ca.pem"), others.PEM)
	listenertest.Eventually(t, "the CA is replaced", func() bool { return client.Status().Generation == 2 })
	if _, err := visit(t, client, ep); !errors.Is(err, upstream.ErrIdentity) {
		t.Errorf("%v", err)
	}
}

func TestABrokenFileLeavesTheOldInForceAndIsAWarning(t *testing.T) {
	ca := testca.New(t, "ours")
	dir := written(t, ca, "ip:127.0.0.1", "cn:redis")
	server, client := running(t, dir), running(t, written(t, ca, "cn:web"))
	ep := answering(t, server)
	testca.WriteFile(t, filepath.Join(dir, "key.pem"), "no key\n")
	listenertest.Eventually(t, "it is said", func() bool {
		w := strings.Join(server.Status().Warnings, " ")
		return strings.Contains(w, "stay in force") && strings.Contains(w, "key.pem")
	})
	if _, err := visit(t, client, ep); err != nil || server.Problem() != "" {
		t.Errorf("%v, %s", err, server.Problem())
	}
	ca.Write(t, dir, ca.Issue(t, []string{"ip:127.0.0.1", "cn:redis-2"}))
	listenertest.Eventually(t, "it is mended", func() bool {
		s := server.Status()
		return s.SpiffeID == "cn:redis-2" && len(s.Warnings) == 0
	})
	if _, err := visit(t, client, ep); err != nil {
		t.Error(err)
	}
}

func TestFilesThatAppearLaterAreUsedThen(t *testing.T) {
	ca := testca.New(t, "ours")
	dir := t.TempDir()
	i := running(t, dir)
	if p := i.Problem(); !strings.Contains(p, "cert.pem does not exist") {
		t.Errorf("%q", p)
	}
	if _, err := visit(t, i, upstream.Endpoint{Address: "127.0.0.1:1"}); err == nil {
		t.Error("dialled without a certificate")
	}
	ca.Write(t, dir, ca.Issue(t, []string{"cn:web"}))
	select {
	case <-i.Ready():
	case <-time.After(10 * time.Second):
		t.Fatal("not ready")
	}
	if s := i.Status(); s.Problem != "" || s.SpiffeID != "cn:web" || len(s.Roots) != 1 || s.Roots[0] != "ours" || s.LeafNotAfter.IsZero() || s.LeafSerial == "" {
		t.Errorf("%+v", s)
	}
}

func TestNobodyIsDialledOfWhomNothingIsExpected(t *testing.T) {
	ca := testca.New(t, "ours")
	server, client := running(t, written(t, ca, "ip:127.0.0.1")), running(t, written(t, ca, "cn:web"))
	ep := answering(t, server)
	for name, id := range map[string]upstream.Identity{
		"an identity of Consul's": {Service: "redis", Datacenter: "dc1"}, "nothing": {}, "a pattern that is none": {Patterns: "redis"},
	} {
		ep.Identity = id
		if _, err := visit(t, client, ep); !errors.Is(err, upstream.ErrIdentity) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnInstanceOfAnotherNameIsToldByItsNamesAndByWhatToDo(t *testing.T) {
	ca := testca.New(t, "ours")
	server, client := running(t, written(t, ca, "dns:redis.example.org")), running(t, written(t, ca, "cn:web"))
	ep := answering(t, server)
	ep.Identity = upstream.Identity{Host: "127.0.0.1"}
	_, err := visit(t, client, ep)
	const says = "the instance is dns:redis.example.org, and its certificate is not for 127.0.0.1: set verify to the identity that it should have"
	if !errors.Is(err, upstream.ErrIdentity) || !strings.HasSuffix(err.Error(), says) {
		t.Errorf("%v", err)
	}
}

func TestPlaintextServesNobodyAndDialsNobodyWhoMustProveAnything(t *testing.T) {
	p := NewPlaintext()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, id := range []upstream.Identity{{Service: "redis"}, {Patterns: "cn:redis", Host: "127.0.0.1"}} {
		if _, err := p.Dial(ctx, upstream.Endpoint{Address: "127.0.0.1:1", Identity: id}); !errors.Is(err, errMustProve) {
			t.Errorf("%v", err)
		}
	}
	if _, err := p.Handshake(identity.ServerTLS{})(ctx, nil); err == nil {
		t.Error("a client is served in plaintext")
	}
}

func TestAListThatIsWrongAllowsNobody(t *testing.T) {
	a := NewAuthorizer([]string{"cn:web", "nonsense"}, nil)
	var denied *listener.Denied
	if err := a.Authorize(t.Context(), listener.Session{SessionInfo: listener.SessionInfo{Peer: "cn:web"}}); !errors.As(err, &denied) {
		t.Errorf("%v", err)
	}
}

// Where x509 is given no CAs, it takes those of the system.
func TestTheCAsOfTheSystemAreNeverTrusted(t *testing.T) {
	ca := testca.New(t, "ours")
	leaf := ca.Issue(t, []string{"cn:web"}).Certificate.Leaf
	if err := newVerifier(nil, nil, time.Now).verify([]*x509.Certificate{leaf}, x509.ExtKeyUsageClientAuth); !errors.Is(err, errNoCAs) {
		t.Errorf("%v", err)
	}
}

// Whoever presents a certificate decides how large it is, and errors may be kept.
func TestARejectionHoldsNothingOfWhatThePeerPresented(t *testing.T) {
	ours, foreign := testca.New(t, "ours"), testca.New(t, "foreign")
	pool := x509.NewCertPool()
	pool.AddCert(ours.Cert)
	for name, now := range map[string]time.Time{"a foreign CA": time.Now(), "expired": time.Now().AddDate(50, 0, 0)} {
		held, err := func() (weak.Pointer[x509.Certificate], error) {
			c := foreign.Issue(t, []string{"cn:web"}).Certificate.Leaf
			v := newVerifier(pool, nil, func() time.Time { return now })
			return weak.Make(c), v.verify([]*x509.Certificate{c}, x509.ExtKeyUsageClientAuth)
		}()
		if err == nil || isExpired(err) != (name == "expired") {
			t.Errorf("%s: %v", name, err)
		}
		for range 2 {
			runtime.GC()
		}
		if held.Value() != nil {
			t.Errorf("%s: the certificate is held by %T", name, err)
		}
		runtime.KeepAlive(err)
	}
}
