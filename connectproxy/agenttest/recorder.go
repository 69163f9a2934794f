package agenttest

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest/traffic"
)

// Recorder is a reverse proxy before a real agent. Its Front counts requests
// and spoils answers. It is safe for any goroutine.
type Recorder struct {
	*traffic.Front
	// Addr is host:port.
	Addr string

	t         testing.TB
	target    atomic.Pointer[string]
	transport *http.Transport
	clients   *http.Transport
}

// NewRecorder starts a recorder before the agent at target, host:port. A target
// that is not known yet may be empty until Target.
func NewRecorder(t testing.TB, target string) *Recorder {
	t.Helper()
	r := &Recorder{t: t, transport: &http.Transport{}, clients: &http.Transport{}}
	r.target.Store(&target)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: *r.target.Load()})
		},
		Transport: r.transport,
		// An agent that is gone cuts connections, it does not answer 502.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:     log.New(io.Discard, "", 0),
	}
	r.Front = traffic.New(proxy)
	server := httptest.NewServer(r.Front)
	r.Addr = server.Listener.Addr().String()
	t.Cleanup(func() {
		r.Front.Close()
		r.clients.CloseIdleConnections()
		server.CloseClientConnections()
		server.Close()
		r.transport.CloseIdleConnections()
	})
	return r
}

// Record starts a recorder before this agent.
func (a *Agent) Record() *Recorder {
	a.t.Helper()
	return NewRecorder(a.t, a.HTTPAddr)
}

// Target sends further requests to another agent.
func (r *Recorder) Target(addr string) { r.target.Store(&addr) }

// Client makes a client that goes through the recorder, with that token, empty
// for none.
func (r *Recorder) Client(token string) *api.Client {
	r.t.Helper()
	c, err := api.NewClient(&api.Config{
		Address:    r.Addr,
		Scheme:     "http",
		Token:      token,
		HttpClient: &http.Client{Transport: r.clients},
	})
	if err != nil {
		r.t.Fatalf("making a client: %v", err)
	}
	return c
}
