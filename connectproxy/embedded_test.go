package connectproxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/config"
	"connect-proxy/connectproxy"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/testca"
	"connect-proxy/listener"
	"connect-proxy/upstream"
)

const soon = 20 * time.Second

// startMesh is startExample until the test ends.
func startMesh(t *testing.T) *exampleMesh {
	t.Helper()
	m := startExample()
	t.Cleanup(m.stop)
	return m
}

// intention says whether a service may call another.
func intention(t *testing.T, c *api.Client, from, to string, action api.IntentionAction) {
	t.Helper()
	entry := &api.ServiceIntentionsConfigEntry{
		Kind: api.ServiceIntentions, Name: to,
		Sources: []*api.SourceIntention{{Name: from, Action: action}},
	}
	if _, _, err := c.ConfigEntries().Set(entry, nil); err != nil {
		t.Fatal(err)
	}
}

// dial connects to an upstream, and closes the connection when the test ends.
func dial(t *testing.T, p *connectproxy.Proxy, to string) *connectproxy.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	c, err := p.Dial(ctx, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*connectproxy.Conn)
}

// ask sends a word and reads as much.
func ask(c net.Conn, word string) error {
	_ = c.SetDeadline(time.Now().Add(soon))
	defer func() { _ = c.SetDeadline(time.Time{}) }()
	if _, err := io.WriteString(c, word); err != nil {
		return err
	}
	got := make([]byte, len(word))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != word {
		return fmt.Errorf("asked %q, answered %q", word, got)
	}
	return nil
}

func TestAnIntentionThatDeniesCutsAProgramsConnections(t *testing.T) {
	t.Parallel()
	m := startMesh(t)
	denyUnderTraffic(t, m.client, m.host("db"), m.dialler("web", "db"), m.dialler("api", "db"))
}

// denyUnderTraffic has db's program serve web and api, and web be denied.
func denyUnderTraffic(t *testing.T, agent *api.Client, db *listener.InProcess, web, other *connectproxy.Proxy) {
	t.Helper()
	ended := make(chan error, 10) // of connections that the program has served
	go func() {
		for {
			c, err := db.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, err := io.Copy(c, c)
				ended <- fmt.Errorf("%s: %w", c.(*listener.Conn).Peer(), errors.Join(err, io.EOF))
			}()
		}
	}()
	denied, kept := dial(t, web, "db"), dial(t, other, "db")
	for _, c := range []net.Conn{denied, kept} {
		if err := ask(c, "hello"); err != nil {
			t.Fatal(err)
		}
	}
	intention(t, agent, "web", "db", api.IntentionActionDeny)
	_ = denied.SetReadDeadline(time.Now().Add(soon))
	if n, err := denied.Read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the caller read %d bytes, %v", n, err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), "/svc/web") || !strings.Contains(err.Error(), "intention_revoked") {
		t.Errorf("the program's connection ended with %v", err)
	}
	if err := ask(kept, "still there"); err != nil {
		t.Errorf("the other caller: %v", err)
	}
	agenttest.Eventually(t, soon, func() error {
		c, err := web.Dial(t.Context(), "db")
		if err != nil {
			if errors.Is(err, upstream.ErrDenied) {
				return nil
			}
			return err
		}
		defer c.Close()
		if err := ask(c, "again"); !errors.Is(err, upstream.ErrDenied) {
			return fmt.Errorf("once denied: %w", err)
		}
		return nil
	})
}

func TestDialWaitsForWhatItNeeds(t *testing.T) {
	t.Parallel()
	m := startMesh(t)
	source, err := config.NewStatic(config.Config{Service: "web", Upstreams: []config.Upstream{
		{Destination: config.Destination{Name: "db"}, ConnectTimeout: soon},
	}})
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := connectproxy.New(connectproxy.Options{Source: source, Client: m.client})
	if err != nil {
		t.Fatal(err)
	}
	dialled := make(chan error, 1)
	go func() {
		c, err := proxy.Dial(context.Background(), "db")
		if err == nil {
			err = ask(c, "hello")
			_ = c.Close()
		}
		dialled <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := proxy.Dial(ctx, "db"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("before Run: %v", err)
	}
	m.echo("db")
	m.work.Go(func() { must(proxy.Run(m.ctx)) })
	if err := <-dialled; err != nil {
		t.Error(err)
	}
}

func TestDialSaysWhatThereIs(t *testing.T) {
	t.Parallel()
	m := startMesh(t)
	m.echo("db")
	proxy := m.run(connectproxy.Options{DrainTimeout: 100 * time.Millisecond}, config.Config{Service: "web", Upstreams: []config.Upstream{
		{Destination: config.Destination{Name: "db"}},
		{Destination: config.Destination{Name: "nobody"}, ConnectTimeout: 200 * time.Millisecond},
	}})
	if _, err := proxy.Dial(t.Context(), "cache"); !errors.Is(err, connectproxy.ErrNoUpstream) || !strings.Contains(err.Error(), `"db, nobody"`) {
		t.Errorf("an unknown name: %v", err)
	}
	if _, err := proxy.Dial(t.Context(), "nobody"); !errors.Is(err, upstream.ErrNoEndpoints) {
		t.Errorf("a service without instances: %v", err)
	}
	open := dial(t, proxy, "db")
	m.stop()
	if _, err := open.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("a connection that outlived the drain ended with %v", err)
	}
	if _, err := proxy.Dial(t.Context(), "db"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Run: %v", err)
	}
}

func TestRunWaitsForAProgramsConnectionsAsLongAsADrainMayTake(t *testing.T) {
	t.Parallel()
	m := startMesh(t)
	m.echo("db")
	source, err := config.NewStatic(config.Config{Service: "web", Upstreams: []config.Upstream{{Destination: config.Destination{Name: "db"}}}})
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := connectproxy.New(connectproxy.Options{Source: source, Client: m.client, DrainTimeout: soon})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- proxy.Run(ctx) }()
	c := dial(t, proxy, "db")
	cancel()
	agenttest.Eventually(t, soon, func() error {
		if !proxy.Status().Draining {
			return errors.New("not draining")
		}
		return nil
	})
	if err := ask(c, "while it drains"); err != nil {
		t.Error(err)
	}
	_ = c.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAnUpstreamIsDialledByNameAndByItsPortAlike(t *testing.T) {
	t.Parallel()
	m := startMesh(t)
	m.echo("db")
	port := freePort()
	var seen counted
	proxy := m.run(connectproxy.Options{Observer: &seen}, config.Config{Service: "web", Upstreams: []config.Upstream{
		{Destination: config.Destination{Name: "db"}, Bind: config.Address{Port: port}},
	}})
	own := dial(t, proxy, "db")
	if err := ask(own, "by name"); err != nil {
		t.Fatal(err)
	}
	local, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	if err := ask(local, "by port"); err != nil {
		t.Error(err)
	}
	if s := proxy.Status(); len(s.Listeners) != 1 || s.Listeners[0].Live != 2 || s.Listeners[0].Upstream.Live != 2 {
		t.Errorf("the listeners' status: %+v", s.Listeners)
	}
	_ = own.Close()
	_ = local.Close()
	agenttest.Eventually(t, soon, func() error {
		if o, c := seen.opened.Load(), seen.closed.Load(); o != 2 || c != 2 {
			return fmt.Errorf("the observer was told of %d and %d connections", o, c)
		}
		return nil
	})
}

// counted is an observer of a user's own.
type counted struct{ opened, closed atomic.Int32 }

func (c *counted) ConnOpened(listener.Open)    { c.opened.Add(1) }
func (c *counted) ConnClosed(listener.Summary) { c.closed.Add(1) }

// inventory is a resolver of a user's own.
type inventory struct{ *upstream.Latest }

func (inventory) Run(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func TestAProgramBringsItsOwnPartsAndNeedsNoConsul(t *testing.T) {
	t.Parallel()
	ca := testca.New(t, "ours")
	files := func(name string) config.Identity {
		dir := t.TempDir()
		ca.Write(t, dir, ca.Issue(t, []string{name}))
		return config.Identity{Name: "own", CertificateFiles: config.CertificateFiles{
			Cert: dir + "/cert.pem", Key: dir + "/key.pem", CA: dir + "/ca.pem",
		}}
	}
	const db, web, other = "spiffe://example.org/db", "spiffe://example.org/web", "spiffe://example.org/other"
	m := &exampleMesh{}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	t.Cleanup(m.stop)
	in, port := listener.NewInProcess(), freePort()
	m.run(connectproxy.Options{InProcess: in}, config.Config{
		Identities: []config.Identity{files(db)},
		Public:     &config.Public{Bind: config.Address{Host: "127.0.0.1", Port: port}, Identity: "own", Allow: []string{web}},
	})
	m.echoOn(in)

	found := func(d config.Destination) connectproxy.Resolver {
		r := inventory{upstream.NewLatest(d.Name)}
		r.Found(upstream.Set{Endpoints: []upstream.Endpoint{{
			ID: d.Name, Address: fmt.Sprintf("127.0.0.1:%d", port), Identity: upstream.Identity{Patterns: d.Verify},
		}}})
		return r
	}
	dialler := func(as string) *connectproxy.Proxy {
		return m.run(connectproxy.Options{
			Resolvers: map[config.DestinationType]func(config.Destination) connectproxy.Resolver{"inventory": found},
		}, config.Config{
			Identities: []config.Identity{files(as)},
			Upstreams: []config.Upstream{{
				Destination: config.Destination{Type: "inventory", Name: "db", Verify: db}, Identity: "own",
			}},
		})
	}
	allowed := dialler(web)
	agenttest.Eventually(t, soon, func() error {
		c, err := allowed.Dial(t.Context(), "db")
		if err != nil {
			return err // the public port may not be open yet
		}
		defer c.Close()
		if c.(*connectproxy.Conn).Peer() != db {
			t.Errorf("the peer is %q", c.(*connectproxy.Conn).Peer())
		}
		return ask(c, "hello")
	})
	if err := ask(dial(t, dialler(other), "db"), "hello"); !errors.Is(err, upstream.ErrDenied) {
		t.Errorf("somebody who is not on the list: %v", err)
	}
}
