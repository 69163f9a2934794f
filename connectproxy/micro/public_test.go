package micro

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

// startPublic serves strangers on a loopback port, without TLS, until the test ends.
func startPublic(t *testing.T, m *mesh, c config.Edge, change ...func(*Server)) *proxy {
	t.Helper()
	return servePublic(t, m, c, func(listener.Request) {}, change...)
}

// servePublic is startPublic, and tells of each client.
func servePublic(t *testing.T, m *mesh, c config.Edge, told func(listener.Request), change ...func(*Server)) *proxy {
	t.Helper()
	p := NewPublicServer(Options{
		Destination: func(name string) (config.Destination, error) { return config.ParseDestination(name, "") },
		Dial:        func(ctx context.Context, d config.Destination, _ net.Addr) (net.Conn, error) { return m.dial(ctx, d) },
	})
	c.Hosts = []string{"api.example.com"}
	if c.Handler == "" {
		c.Handler = config.MicroRPC
	}
	if err := p.Update(c); err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(p.s)
	}
	// For their first byte clients have what a machine takes that does much else.
	return listen(t, p.s, listener.Options{HandshakeTimeout: 5 * time.Second, Request: func(_ context.Context, raw net.Conn) (listener.Request, error) {
		r := p.Request(raw)
		told(r)
		return r, nil
	}})
}

// ask sends a request as a stranger does.
func (p *proxy) ask(t *testing.T, method, path, body string, headers ...string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+p.address()+strings.TrimPrefix(path, "*"), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if path == "*" {
		r.URL.Opaque = path
	}
	r.Host = "api.example.com"
	r.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		if k == "Host" {
			r.Host = v
		}
		r.Header.Set(k, v)
	}
	// Of who says that it closes, net/http leaves unread what it has not read by the
	// answer, and resets the connection half a second later.
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: 30 * time.Second}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	b, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(b)
}

func TestAStrangerReachesWhatIsAllowedAlone(t *testing.T) {
	greeter, secret := newService(t, "greeter"), newService(t, "secret")
	m := &mesh{
		services: map[string]string{"greeter": greeter.Addr(), "secret": secret.Addr()},
		reasons:  map[string]listener.Reason{"down": listener.ReasonDialFailed, "hidden": listener.ReasonUpstreamDenied},
	}
	p := startPublic(t, m, config.Edge{Allow: []string{"greeter", "down", "hidden", "nobody"}, Namespace: "-"})
	for _, c := range []struct {
		method, path, body string
		headers            []string
		status             int
		answer             string
	}{
		{"POST", "/greeter/hello", `{"a": 1}`, nil, 200, `greeter got {"a": 1}`},
		{"POST", "/greeter/hello", `{}`, []string{"Host: API.example.com:443"}, 200, `greeter got {}`},
		{"POST", "/greeter/hello", `{}`, []string{"Origin: https://example.com", "Sec-Fetch-Site: cross-site"}, 200, `greeter got {}`},
		{"POST", "/rpc", `{"service": "greeter", "method": "Greeter.Hello", "request": {}}`, nil, 200, `greeter got {}`},
		{"POST", "/rpc", `{"service": "secret", "method": "Secret.Hello"}`, nil, 404, "not_found"},
		{"POST", "/rpc", `{"service": "greeter", "method": "Greeter.Hello", "address": "10.0.0.1:22"}`, nil, 400, "address"},
		{"POST", "/secret/hello", `{}`, nil, 404, "not_found"},
		{"POST", "/nobody/hello", `{}`, nil, 404, "not_found"},
		{"POST", "/hidden/hello", `{}`, nil, 404, "not_found"},
		{"POST", "/down/hello", `{}`, nil, 502, "unavailable"},
		{"POST", "/greeter/hello", `{}`, []string{"Host: other.example.com"}, 421, "no such name"},
		{"POST", "/greeter/hello", `{}`, []string{"Host: 127.0.0.1"}, 421, "no such name"},
		{"POST", "/greeter/hello", `{}`, []string{"Host: api.example.com:,evil.example"}, 421, "no such name"},
		{"POST", "/greeter/hello", `{}`, []string{"Host: [api.example.com]:443"}, 421, "no such name"},
		{"CONNECT", "/greeter/hello", ``, nil, 405, "tunnels"},
		{"GET", "/greeter/hello", ``, nil, 405, ""},
		{"OPTIONS", "*", ``, []string{"Host: other.example.com"}, 421, "no such name"},
		{"POST", "/", `{}`, []string{"Micro-Service: greeter"}, 404, ""},
		{"GET", "/registry", ``, nil, 404, ""},
		{"POST", "/registry", `{"name": "x"}`, nil, 404, ""},
		{"DELETE", "/registry/x", ``, nil, 404, ""},
		{"POST", "/broker?topic=a", `{}`, nil, 404, ""},
		{"POST", "/broker/publish", `{}`, nil, 404, ""},
		{"GET", "/stats", ``, nil, 404, ""},
		{"GET", "/health", ``, nil, 404, ""},
		{"POST", "//registry", `{}`, nil, 404, ""},
		{"POST", "/%72egistry", `{}`, nil, 404, ""},
	} {
		status, answer := p.ask(t, c.method, c.path, c.body, c.headers...)
		if status != c.status || !strings.Contains(answer, c.answer) {
			t.Errorf("%s %s %v: %d %q, want %d %q", c.method, c.path, c.headers, status, answer, c.status, c.answer)
		}
		if status >= 400 && (strings.Contains(answer, "dialling") || strings.Contains(answer, "add it")) {
			t.Errorf("%s %s: tells a stranger %q", c.method, c.path, answer)
		}
	}
	if secret.messages.Load() != 0 {
		t.Error("what is not allowed was called")
	}
}

func TestAStrangerIsIdleBetweenRequestsAlone(t *testing.T) {
	answer, clients := make(chan struct{}), make(chan listener.Request, 1)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { <-answer }))
	t.Cleanup(app.Close)
	m := &mesh{services: map[string]string{"greeter": app.Listener.Addr().String()}}
	p := servePublic(t, m, config.Edge{Allow: []string{"greeter"}, Namespace: "-", Handler: config.MicroProxy}, func(r listener.Request) { clients <- r })
	c := p.caller(t)
	const head = "GET /greeter/a HTTP/1.1\r\nHost: api.example.com\r\n"
	c.send(head)
	r := <-clients
	idle := func() bool { return !r.IdleSince().IsZero() }
	if !idle() {
		t.Error("half a header is a request")
	}
	c.send("\r\n")
	listenertest.Eventually(t, "there is a request", func() bool { return !idle() })
	answer <- struct{}{}
	if got, _, _ := c.answer(); got.StatusCode != http.StatusOK {
		t.Error(got.Status)
	}
	listenertest.Eventually(t, "it is answered", idle)
	c.send(head + "\r\n")
	listenertest.Eventually(t, "there is another", func() bool { return !idle() })
	answer <- struct{}{}
	c.answer()
}

func TestAStrangerSaysNothingForASidecar(t *testing.T) {
	seen := make(chan http.Header, 2)
	backend := listenertest.NewServer(t, func(c *net.TCPConn) {
		one := (&Server{}).newClient(c, nil)
		one.gone, one.end = context.WithCancel(t.Context())
		_ = http.Serve(&clientListener{one}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen <- r.Header
			_, _ = io.WriteString(w, "{}")
		}))
	})
	m := &mesh{services: map[string]string{"greeter": backend.Addr()}}
	said := []string{"Timeout: 999999999999999", "Upgrade: websocket", "Fine: yes", "X-Acme-User: lie", "X_Acme-Role: lie", "Acme-Fine: yes"}
	for _, name := range slices.Concat(lies, []string{"X_Forwarded_For", "Micro_From_Service", "X.Forwarded.For", "Client_Cert", "Remote_User"}) {
		said = append(said, name+": lie")
	}
	said = append(said, "Connection: Timeout, X-Forwarded-For, X-Forwarded-Host")
	for _, handler := range []config.MicroHandler{config.MicroRPC, config.MicroProxy} {
		p := startPublic(t, m, config.Edge{Allow: []string{"greeter"}, Namespace: "-", Handler: handler, RemoveHeaders: []string{"x-acme-*"}})
		if status, answer := p.ask(t, "POST", "/greeter/hello", "{}", said...); status != 200 {
			t.Fatalf("%s: %d %s", handler, status, answer)
		}
		h := <-seen
		for k, v := range h {
			if slices.Contains(v, "lie") {
				t.Errorf("%s: %s has arrived", handler, k)
			}
		}
		if h.Get("X-Forwarded-For") != "127.0.0.1" || h.Get("X-Forwarded-Host") != "api.example.com" || h.Get("X-Forwarded-Proto") != "https" || h.Get("Fine") != "yes" || h.Get("Acme-Fine") != "yes" {
			t.Errorf("%s: %v", handler, h)
		}
		if h.Get("Timeout") != "30000000000" {
			t.Errorf("a stranger's call may take %s ns", h.Get("Timeout"))
		}
	}
}

func TestAStrangerWhoIsSlowIsGivenUp(t *testing.T) {
	t.Parallel()
	s := newService(t, "greeter")
	m := &mesh{services: map[string]string{"greeter": s.Addr()}}
	p := startPublic(t, m, config.Edge{Allow: []string{"greeter"}, Namespace: "-"}, func(s *Server) {
		s.http.ReadHeaderTimeout, s.http.IdleTimeout, s.bodyTime = 300*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond
	})
	const head = "POST /greeter/hello HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/json\r\n"
	for what, sent := range map[string]string{
		"nothing":               "",
		"half a header":         head,
		"half a body":           head + "Content-Length: 100\r\n\r\n{",
		"another host's body":   "POST /greeter/hello HTTP/1.1\r\nHost: other.example.com\r\nContent-Length: 100\r\n\r\n{",
		"a body nobody reads":   strings.Replace(head, "greeter/hello", "stats", 1) + "Content-Length: 100\r\n\r\n{",
		"no request any more":   head + "Content-Length: 2\r\n\r\n{}",
		"a body without an end": head + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
	} {
		c := p.caller(t)
		c.send(sent)
		began := time.Now()
		c.gone()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: gone after %s", what, took)
		}
	}
}

func TestTheBodyOfACallIsBoundedAsAWholeWhereOthersArePassedOn(t *testing.T) {
	t.Parallel()
	p := startPublic(t, &mesh{}, config.Edge{Allow: []string{"greeter"}, Handler: config.MicroProxy}, func(s *Server) {
		s.bodyTime = 300 * time.Millisecond
	})
	for _, path := range []string{"/rpc", "/rpc/", "/rpc/x"} {
		c := p.caller(t)
		c.send("POST " + path + " HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
		began := time.Now()
		c.gone()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: gone after %s", path, took)
		}
	}
}

func TestAStrangerIsNotToldTheAddressesOfTheProxy(t *testing.T) {
	t.Parallel()
	for _, handler := range []config.MicroHandler{config.MicroRPC, config.MicroProxy} {
		p := startPublic(t, &mesh{}, config.Edge{Allow: []string{"greeter"}, Namespace: "-", Handler: handler}, func(s *Server) {
			s.bodyTime = 300 * time.Millisecond
		})
		for _, kind := range []string{"application/json", "application/x-www-form-urlencoded", "application/protobuf"} {
			for _, path := range []string{"/rpc", "/greeter/hello"} {
				if handler == config.MicroProxy && path != "/rpc" {
					continue // is passed on as it comes
				}
				c := p.caller(t)
				c.send("POST " + path + " HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: " + kind + "\r\nContent-Length: 100\r\n\r\n")
				if got := c.gone(); !strings.HasPrefix(got, "HTTP/1.1 4") || strings.Contains(got, "127.0.0.1") {
					t.Errorf("%s, %s, %s: %s", handler, path, kind, got)
				}
			}
		}
	}
}

func TestWhatIsLeftOfABodyIsNoRequest(t *testing.T) {
	var smuggled, reached atomic.Int64
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/greeter/smuggled" {
			smuggled.Add(1)
		}
		reached.Add(1)
		if r.URL.Path == "/greeter/read" {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		_, _ = io.WriteString(w, "early") // and what is left of the body is not read
	}))
	t.Cleanup(app.Close)
	m := &mesh{services: map[string]string{"greeter": app.Listener.Addr().String()}}
	const next = "GET /greeter/smuggled HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
	public := startPublic(t, m, config.Edge{Allow: []string{"greeter"}, Namespace: "-", Handler: config.MicroProxy})
	sidecar := start(t, m, func(s *Server) {
		if err := s.Update(config.Micro{Allow: []string{"greeter"}, Namespace: "-", Handler: config.MicroProxy, RemoteClients: true}); err != nil {
			t.Fatal(err)
		}
	})
	for where, p := range map[string]*proxy{"edge": public, "micro": sidecar} {
		for what, sent := range map[string]string{
			"a chunk that is none": "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\nZZ\r\n" + next,
			"a long body":          "Content-Length: 8000000\r\n\r\n" + strings.Repeat("\r\n", 1<<20) + strings.Repeat(next, 50_000),
		} {
			c := p.caller(t)
			go func() { _, _ = io.WriteString(c, "POST /greeter/a HTTP/1.1\r\nHost: api.example.com\r\n"+sent) }()
			got, err := io.ReadAll(c)
			if n := strings.Count(string(got), "HTTP/1.1 "); n > 1 || n == 1 && !strings.Contains(string(got), "Connection: close\r\n") || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s, %s: %d answers, %v: %.500q", where, what, n, err, got)
			}
		}
		// Whose body was read has the connection for its next request.
		c := p.caller(t)
		for range 2 {
			c.send("POST /greeter/read HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 3\r\n\r\nabc")
			if r, _, _ := c.answer(); r.StatusCode != http.StatusOK {
				t.Errorf("%s: %s", where, r.Status)
			}
		}
	}
	if smuggled.Load() != 0 || reached.Load() == 0 {
		t.Errorf("%d bodies were requests, %d requests", smuggled.Load(), reached.Load())
	}
}

// stuckConn has whoever ends its sending direction wait.
type stuckConn struct {
	*net.TCPConn
	ending, release chan struct{}
}

func (c *stuckConn) CloseWrite() error {
	close(c.ending)
	<-c.release
	return c.TCPConn.CloseWrite()
}

// The HTTP server stays with a client for a moment after an answer, so that a reset
// does not take it away. Whoever ends everything then must not be told that all has
// ended before it has.
func TestServeWaitsForTheServerThatAnswersAStranger(t *testing.T) {
	p := NewPublicServer(Options{})
	stranger, accepted := listenertest.TCPPair(t)
	conn := &stuckConn{accepted, make(chan struct{}), make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan struct{})
	go func() {
		defer close(served)
		p.Request(conn).Serve(ctx, conn)
	}()
	// So much is announced that it is not read for the sake of the next request.
	if _, err := io.WriteString(stranger, "POST /greeter/hello HTTP/1.1\r\nHost: another\r\nContent-Length: 1000000\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-conn.ending:
	case <-time.After(20 * time.Second):
		t.Fatal("the sending direction is not ended first")
	}
	cancel()
	select {
	case <-served:
		t.Error("Serve has returned before the HTTP server was done")
	case <-time.After(100 * time.Millisecond):
	}
	close(conn.release)
	<-served
}

func TestTheLogSaysWhatTheEdgeWouldHaveToAllow(t *testing.T) {
	for allow, want := range map[string]string{
		"greeter": `edge does not allow go.micro.srv.greeter: add it to allow; paths begin with the namespace "go.micro.srv": for greeter set namespace = "-"`,
		"other":   `edge does not allow go.micro.srv.greeter: add it to allow`,
	} {
		for _, handler := range []config.MicroHandler{config.MicroRPC, config.MicroProxy} {
			var log agenttest.Log
			p := startPublic(t, &mesh{}, config.Edge{Allow: []string{allow}, Namespace: config.DefaultMicroNamespace, Handler: handler}, func(s *Server) {
				s.o.Logger = hclog.New(&hclog.LoggerOptions{Output: &log})
			})
			if status, answer := p.ask(t, "POST", "/greeter/hello", "{}"); status != 404 || strings.Contains(answer, "allow") {
				t.Errorf("%s: %d %s", handler, status, answer)
			}
			if said := strings.ReplaceAll(log.String(), `\"`, `"`); strings.Count(said, want) != 1 {
				t.Errorf("%s: %q is not in %s", handler, want, said)
			}
		}
	}
}

// Whoever is in front of the edge may have gone by the length, which says that what
// comes after the chunks is of the body.
func TestNothingIsReadBehindABodyThatHasChunksAndALength(t *testing.T) {
	hinting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "{}")
	}))
	t.Cleanup(hinting.Close)
	m := &mesh{services: map[string]string{"greeter": newService(t, "greeter").Addr(), "hinting": hinting.Listener.Addr().String()}}
	const hidden = "POST /greeter/hidden HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 0\r\n\r\n"
	for _, handler := range []config.MicroHandler{config.MicroRPC, config.MicroProxy} {
		p := startPublic(t, m, config.Edge{Allow: []string{"greeter", "hinting"}, Namespace: "-", Handler: handler})
		for _, head := range []string{
			"POST /greeter/hello HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/json\r\nContent-Length: 100",
			"POST /greeter/hello HTTP/1.1\r\nHost: another.example.com\r\nContent-Length: 100",
			"PUT /stats HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 100",
			"PUT /hinting/hello HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 100",
			"POST /greeter/hello HTTP/1.0\r\nHost: api.example.com\r\nContent-Type: application/json\r\nConnection: keep-alive\r\nContent-Length: 12",
			"POST /greeter/hello HTTP/1.0\r\nHost: api.example.com\r\nContent-Type: application/json\r\nConnection: keep-alive",
		} {
			c := p.caller(t)
			c.send(head + "\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + hidden)
			all, before := c.gone(), m.dials()
			if n := strings.Count(all, "HTTP/1.1 ") + strings.Count(all, "HTTP/1.0 ") - strings.Count(all, " 103 "); n != 1 || !strings.Contains(all, "Connection: close") && !strings.Contains(all, "HTTP/1.0") {
				t.Errorf("%s, %q: %d answers, %d dials: %q", handler, head, n, before, all)
			}
		}
	}
}

func TestNoServiceGivesAStrangerAnotherProtocol(t *testing.T) {
	var heard atomic.Int64
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, in, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		if line, _ := in.ReadString('\n'); strings.Contains(line, "words") {
			heard.Add(1)
		}
	}))
	t.Cleanup(app.Close)
	m := &mesh{services: map[string]string{"greeter": app.Listener.Addr().String()}}
	for _, handler := range []config.MicroHandler{config.MicroProxy, config.MicroRPC} {
		e := startPublic(t, m, config.Edge{Allow: []string{"greeter"}, Namespace: "-", Handler: handler}, func(s *Server) {
			s.bodyTime = 200 * time.Millisecond
		})
		for _, rest := range []string{
			"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
			"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 9\r\n\r\na",
			"Sec-WebSocket-Key: a\r\n\r\n",
			"Sec-WebSocket-Key: a\r\nContent-Length: 9\r\n\r\na",
			"Sec-WebSocket-Key: a\r\nContent-Length: 9\r\n\r\na23456789",
			"Sec-WebSocket-Key: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
			"Sec-WebSocket-Key: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		} {
			c := e.caller(t)
			_, _ = io.WriteString(c, "POST /greeter/call HTTP/1.1\r\nHost: api.example.com\r\n"+rest)
			got := make([]byte, len("HTTP/1.1 101"))
			if _, err := io.ReadFull(c, got); err == nil && string(got) == "HTTP/1.1 101" {
				t.Errorf("handler %s, %q: %s", handler, rest, got)
			}
			_, _ = io.WriteString(c, "words\n")
		}
	}
	if n := heard.Load(); n != 0 {
		t.Errorf("a service was told %d strangers' words", n)
	}
}
