package micro

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"connect-proxy/config"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

// h2c speaks HTTP/2 without TLS and nothing else.
func h2c() *http.Protocols {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	return &p
}

// newGRPCService serves HTTP/2 until the test ends, and counts its connections.
func newGRPCService(t testing.TB, handle http.HandlerFunc) (address string, connections *atomic.Int64) {
	t.Helper()
	ln, err := listener.Listen(t.Context(), "tcp", "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	connections = new(atomic.Int64)
	s := &http.Server{Handler: handle, Protocols: h2c(), ReadHeaderTimeout: time.Minute, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return ln.Addr().String(), connections
}

// answerOK answers a call with nothing.
func answerOK(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	_, _ = io.WriteString(w, "done")
}

// grpcClient is one that has nothing of gRPC but its headers.
func (p *proxy) grpcClient(t testing.TB) *http.Client {
	t.Helper()
	transport := &http.Transport{Protocols: h2c(), MaxConnsPerHost: 1}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// call makes a call and returns the answer's header, its trailer, and its body.
func (p *proxy) call(t testing.TB, c *http.Client, path, body string, headers ...string) (head http.Header, trailer http.Header, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.address()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("Te", "trailers")
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Set(k, v)
	}
	response, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Errorf("%s: %v", path, err)
	}
	return response.Header, response.Trailer, string(b)
}

func TestRefusalsOfGRPCAreItsOwn(t *testing.T) {
	m := &mesh{reasons: map[string]listener.Reason{
		"none": listener.ReasonNoEndpoints, "late": listener.ReasonDialTimeout, "hidden": listener.ReasonUpstreamDenied,
		"full": listener.ReasonLimit, "down": listener.ReasonDialFailed,
	}}
	p := start(t, m, func(s *Server) { allow(t, s, "none", "late", "hidden", "full", "down") })
	c := p.grpcClient(t)
	for path, want := range map[string]string{
		"/none.Greeter/Hello":   "14 connect-proxy: no_endpoints",
		"/late.Greeter/Hello":   "14 connect-proxy: dial_timeout",
		"/full.Greeter/Hello":   "14 connect-proxy: limit",
		"/down.Greeter/Hello":   "14 connect-proxy: dial_failed",
		"/hidden.Greeter/Hello": "7 connect-proxy: upstream_denied",
		"/secret.Greeter/Hello": "7 connect-proxy: denied: micro does not allow secret",
		"/Greeter/Hello":        "12 connect-proxy: bad_request",
		"/.Greeter/Hello":       "12 connect-proxy: bad_request",
		"/none.Greeter":         "12 connect-proxy: bad_request",
		"/none.Greeter/":        "12 connect-proxy: bad_request",
		"/none.Greeter/a/b":     "12 connect-proxy: bad_request",
		"/a b.Greeter/Hello":    "12 connect-proxy: bad_request",
		"/":                     "12 connect-proxy: bad_request",
	} {
		head, trailer, body := p.call(t, c, strings.ReplaceAll(path, " ", "%20"), "request")
		if got := head.Get("Grpc-Status") + " " + head.Get("Grpc-Message"); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
		if len(trailer) != 0 || body != "" || head.Get("Content-Type") != "application/grpc" {
			t.Errorf("%s: more than a header: %v, trailer %v, body %q", path, head, trailer, body)
		}
	}
	if head, _, _ := p.call(t, c, "/none.Greeter/Hello", "", "Origin: http://"+p.address()); head.Get("Grpc-Status") != "7" {
		t.Errorf("a page that came from here: %v", head)
	}
	if head, _, _ := p.call(t, c, "/secret.Greeter/Hello", "", "Micro-Service: none"); head.Get("Grpc-Status") != "7" {
		t.Errorf("a header leads past the path: %v", head)
	}
	if n := m.dials(); n != len(m.reasons) {
		t.Errorf("%d dials: what is not allowed was dialled", n)
	}
	if head, _, _ := p.call(t, c, "/none.Greeter/Hello", "", "Origin: http://shop.example"); head.Get("Grpc-Status") != "14" {
		t.Errorf("what an application hands on of a browser's request: %v", head)
	}
}

func TestWhatOnlyBeginsLikeHTTP2IsGivenUp(t *testing.T) {
	p := start(t, &mesh{})
	c := p.caller(t)
	c.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")
	if got := c.gone(); got != "" {
		t.Errorf("%q", got)
	}
}

func TestHTTP2IsForGRPCAlone(t *testing.T) {
	p := start(t, &mesh{services: map[string]string{"db": "127.0.0.1:1"}})
	c := p.grpcClient(t)
	for _, path := range []string{"/", "/rpc", "/registry", "/db.Greeter/Hello"} {
		r, err := c.Post("http://"+p.address()+path, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		if r.StatusCode != http.StatusUnsupportedMediaType {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
}

func TestEachCallOfGRPCIsAllowedByItself(t *testing.T) {
	address, connections := newGRPCService(t, answerOK)
	p := start(t, &mesh{services: map[string]string{"db": address}})
	c := p.grpcClient(t)
	if _, trailer, body := p.call(t, c, "/db.Greeter/Hello", "x"); trailer.Get("Grpc-Status") != "0" || body != "done" {
		t.Fatalf("%v %q", trailer, body)
	}
	allow(t, p.Server, "other")
	if head, _, _ := p.call(t, c, "/db.Greeter/Hello", "x"); head.Get("Grpc-Status") != "7" {
		t.Errorf("no longer allowed: %v", head)
	}
	allow(t, p.Server, "db")
	before := connections.Load()
	p.Reset()
	if _, trailer, _ := p.call(t, c, "/db.Greeter/Hello", "x"); trailer.Get("Grpc-Status") != "0" || connections.Load() <= before {
		t.Errorf("%v, %d connections: a call under another identity went over one that stands for the former", trailer, connections.Load())
	}
}

func TestCallsOfGRPCGoOverSeveralConnections(t *testing.T) {
	address, connections := newGRPCService(t, answerOK)
	p := start(t, &mesh{services: map[string]string{"db": address}})
	c := p.grpcClient(t)
	for range 20 {
		if _, trailer, _ := p.call(t, c, "/db.Greeter/Hello", "x"); trailer.Get("Grpc-Status") != "0" {
			t.Fatal(trailer)
		}
	}
	if n := connections.Load(); n != grpcSpread {
		t.Errorf("%d connections, want %d", n, grpcSpread)
	}
}

func TestAnAnswerOfGRPCThatBreaksOffEndsWithAStatus(t *testing.T) {
	address, _ := newGRPCService(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		if strings.HasSuffix(r.URL.Path, "/Reset") {
			panic(http.ErrAbortHandler)
		}
		<-r.Context().Done()
	})
	p := start(t, &mesh{services: map[string]string{"db": address}}, func(s *Server) { s.grace = 0 })
	c := p.grpcClient(t)
	if _, trailer, body := p.call(t, c, "/db.Greeter/Reset", ""); trailer.Get("Grpc-Status") != "13" || body != "half" {
		t.Errorf("reset: %v %q", trailer, body)
	}
	if _, trailer, body := p.call(t, c, "/db.Greeter/Wait", "", "Grpc-Timeout: 300m"); trailer.Get("Grpc-Status") != "4" || body != "half" {
		t.Errorf("out of time: %v %q", trailer, body)
	}
	_, trailer, _ := p.call(t, c, "/db.Greeter/Wait", "", "Timeout: 300000000", headerMicroGRPC+": application/json")
	if got := trailer.Get("Grpc-Message"); !strings.Contains(got, `"code":504`) {
		t.Errorf("a client of Micro is told %q", got)
	}
}

func TestAServiceThatTurnsTheProxyAwayIsAPermissionDenied(t *testing.T) {
	p := start(t, &mesh{services: map[string]string{"db": "unused"}}, func(s *Server) {
		s.grpc = newGRPCPool(func(context.Context, config.Destination, net.Addr) (net.Conn, error) {
			near, far := net.Pipe()
			_ = far.Close()
			return turnedAway{near}, nil
		}, idleTime)
	})
	if head, _, _ := p.call(t, p.grpcClient(t), "/db.Greeter/Hello", "x"); head.Get("Grpc-Status") != "7" {
		t.Errorf("%v", head)
	}
}

// hasty is a connection to a service of HTTP/1 that has answered and gone before it
// got everything: a write fails, and the answer is read after that.
type hasty struct {
	net.Conn
	writes atomic.Int32 // that succeed
	failed chan struct{}
	once   sync.Once
}

func (c *hasty) Write(b []byte) (int, error) {
	if c.writes.Add(-1) >= 0 {
		return len(b), nil
	}
	c.once.Do(func() { close(c.failed) })
	return 0, syscall.EPIPE
}

func (c *hasty) Read(b []byte) (int, error) {
	<-c.failed
	<-time.After(50 * time.Millisecond)
	return copy(b, "HTTP/1.1 400 Bad Request\r\n\r\n"), nil
}

func TestAServiceThatAnswersAndGoesIsHeardAfterAWriteHasFailed(t *testing.T) {
	for writes := range int32(3) {
		p := start(t, &mesh{services: map[string]string{"db": "unused"}}, func(s *Server) {
			s.grpc = newGRPCPool(func(context.Context, config.Destination, net.Addr) (net.Conn, error) {
				near, far := net.Pipe()
				t.Cleanup(func() { _ = far.Close() })
				c := &hasty{Conn: near, failed: make(chan struct{})}
				c.writes.Store(writes)
				return c, nil
			}, idleTime)
		})
		head, _, _ := p.call(t, p.grpcClient(t), "/db.Greeter/Hello", "x")
		if got := head.Get("Grpc-Status") + " " + head.Get("Grpc-Message"); got != "12 connect-proxy: bad_request: "+errNotHTTP2.Error() {
			t.Errorf("after %d writes: %q", writes, got)
		}
	}
}

func TestACallOfGRPCToAServiceOfHTTP1IsToldSo(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	addresses := map[string]string{"Go's": web.Listener.Addr().String()}
	for what, answer := range map[string]string{
		"one of HTTP/1.1":  "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
		"one of HTTP/0.9":  "<!DOCTYPE html><html>what?</html>",
		"one without HTTP": "-ERR unknown command 'PRI'\r\n",
	} {
		addresses[what] = newPlainService(t, answer)
	}
	for what, address := range addresses {
		p := start(t, &mesh{services: map[string]string{"db": address}}, func(s *Server) { allow(t, s, "db") })
		head, _, _ := p.call(t, p.grpcClient(t), "/db.Greeter/Hello", "request")
		if got := head.Get("Grpc-Status") + " " + head.Get("Grpc-Message"); got != "12 connect-proxy: bad_request: "+errNotHTTP2.Error() {
			t.Errorf("%s: %q", what, got)
		}
	}
}

// newPlainService answers the first bytes of each connection, and ends it when its
// client does.
func newPlainService(t *testing.T, answer string) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() {
		_ = ln.Close()
		running.Wait()
	})
	running.Go(func() {
		for c, err := ln.Accept(); err == nil; c, err = ln.Accept() {
			running.Go(func() {
				defer func() { _ = c.Close() }()
				_, _ = c.Read(make([]byte, 1024))
				_, _ = io.WriteString(c, answer)
				_, _ = io.Copy(io.Discard, c)
			})
		}
	})
	return ln.Addr().String()
}

// turnedAway is a connection that the far proxy denies.
type turnedAway struct{ net.Conn }

func (c turnedAway) Write(b []byte) (int, error) { return len(b), nil }
func (c turnedAway) Read([]byte) (int, error) {
	return 0, listener.WithReason(listener.ReasonUpstreamDenied, errors.New("go away"))
}

func TestTimesOfGRPCAreRead(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "5": 0, "S": 0, "5S": 5 * time.Second, "100m": 100 * time.Millisecond, "7u": 7 * time.Microsecond, "0n": 1,
		"99999999H": maxTimeout, "123456789S": 0, "-1S": 0, "1.5S": 0, "5s": 0,
	} {
		if got := grpcTimeout(http.Header{"Grpc-Timeout": {text}}); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	if got := grpcTimeout(http.Header{"Grpc-Timeout": {"5S"}, "Timeout": {"1000"}}); got != 1000 {
		t.Errorf("the lesser of two: %s", got)
	}
}

// headerBlock is the compressed header of a call.
func headerBlock(t testing.TB, path string, more ...hpack.HeaderField) []byte {
	t.Helper()
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, f := range append([]hpack.HeaderField{
		{Name: ":method", Value: http.MethodPost}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: path},
		{Name: ":authority", Value: "here"}, {Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"},
	}, more...) {
		if err := e.WriteField(f); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestAStormOfResetsLeavesOthersServed(t *testing.T) {
	var running, most atomic.Int64
	address, _ := newGRPCService(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/Hello") {
			answerOK(w, r)
			return
		}
		n := running.Add(1)
		defer running.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		<-r.Context().Done()
	})
	p := start(t, &mesh{services: map[string]string{"db": address}})
	attacker, err := net.Dial("tcp", p.address())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = attacker.Close() }()
	_ = attacker.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(attacker, http2.ClientPreface)
	framer := http2.NewFramer(attacker, attacker)
	_ = framer.WriteSettings()
	block := headerBlock(t, "/db.Greeter/Storm")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, err := framer.ReadFrame(); err != nil && !errors.As(err, new(http2.StreamError)) {
				return
			}
		}
	}()
	for id := uint32(1); id < 40_000; id += 2 {
		if framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true}) != nil ||
			framer.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
			break
		}
	}
	if _, trailer, _ := p.call(t, p.grpcClient(t), "/db.Greeter/Hello", "x"); trailer.Get("Grpc-Status") != "0" {
		t.Errorf("somebody else: %v", trailer)
	}
	_ = attacker.Close()
	<-ended
	listenertest.Eventually(t, "all of it is over", func() bool { return running.Load() == 0 && p.inFlight("db") == 0 })
	if n := most.Load(); n > maxStreams {
		t.Errorf("%d calls at a time reached the service, of one connection that may have %d", n, maxStreams)
	}
}
