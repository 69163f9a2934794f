package connectproxy

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/listener/listenertest"
)

// memAgent is an agent without a socket, so that the clock of a test's bubble
// goes on while a question is open: certificates, intentions and verdicts.
type memAgent struct {
	t  testing.TB
	ca *listenertest.CA

	mu      sync.Mutex // guards what follows
	index   uint64
	changed chan struct{}
	leaf    api.LeafCert
	roots   rootsAnswer
	match   []*api.Intention
	allow   map[string]bool // the verdict, by the caller's service
	// fault spoils the answers of an endpoint, by the last part of its path: an
	// HTTP status, never or refuse.
	fault map[string]int
	// stuck blocks a leaf query with an index for its whole wait.
	stuck bool

	hold     time.Duration  // how long each authorization takes
	asked    map[string]int // requests by endpoint
	inFlight map[string]int // authorizations by URI
	most     int            // of them at a time
	twice    bool           // whether any two were of one identity
}

const (
	never  = -1 // no answer
	refuse = -2 // no connection
)

func newMemAgent(t testing.TB, service string) *memAgent {
	a := &memAgent{
		t: t, ca: listenertest.NewCA(t), index: 5, changed: make(chan struct{}),
		allow: map[string]bool{}, fault: map[string]int{}, asked: map[string]int{}, inFlight: map[string]int{},
	}
	a.roots = rootsAnswer{ActiveRootID: "one", TrustDomain: a.ca.TrustDomain, Roots: []rootAnswer{
		{ID: "one", RootCert: a.ca.CertPEM, Active: true},
	}}
	a.leaf = leafOf(a.ca.Leaf(t, service))
	return a
}

func leafOf(l listenertest.Leaf) api.LeafCert {
	return api.LeafCert{SerialNumber: l.Serial, CertPEM: l.CertPEM, PrivateKeyPEM: l.KeyPEM}
}

// issue makes a leaf that begins and ends so long from now.
func (a *memAgent) issue(service string, from, until time.Duration) api.LeafCert {
	now := time.Now()
	return leafOf(a.ca.LeafWith(a.t, service, listenertest.LeafOptions{NotBefore: now.Add(from), NotAfter: now.Add(until)}))
}

func (a *memAgent) client() *api.Client {
	c, err := api.NewClient(&api.Config{Address: "agent.test", HttpClient: &http.Client{Transport: a}})
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// change does f under the lock and moves the index on.
func (a *memAgent) change(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
	a.index++
	close(a.changed)
	a.changed = make(chan struct{})
}

// set does f under the lock, and nobody who waits is told.
func (a *memAgent) set(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

// count is how often an endpoint was asked.
func (a *memAgent) count(endpoint string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked[endpoint]
}

// RoundTrip answers a request on the caller's goroutine, when an agent would.
func (a *memAgent) RoundTrip(r *http.Request) (*http.Response, error) {
	endpoint := path.Base(r.URL.Path)
	if strings.Contains(r.URL.Path, "/leaf/") {
		endpoint = "leaf"
	}
	index, _ := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
	wait, _ := time.ParseDuration(r.URL.Query().Get("wait"))
	var req api.AgentAuthorizeParams
	if endpoint == "authorize" {
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			return nil, err
		}
	}
	defer a.enter(endpoint, req.ClientCertURI)()
	over := time.After(wait)
	if endpoint == "authorize" {
		a.mu.Lock()
		hold := a.hold
		a.mu.Unlock()
		<-time.After(hold)
	}
	for waited := false; ; {
		a.mu.Lock()
		fault, changed := a.fault[endpoint], a.changed
		stuck := a.stuck && endpoint == "leaf" && index > 0
		blocked := fault == 0 && !waited && index > 0 && (a.index <= index || stuck)
		body, now := a.body(endpoint, req), a.index
		a.mu.Unlock()
		switch {
		case fault == refuse:
			return nil, syscall.ECONNREFUSED
		case fault > 0:
			return response(r, fault, "no", now), nil
		case fault == 0 && !blocked:
			return response(r, http.StatusOK, body, now), nil
		case stuck:
			changed = nil
		case fault == never:
			over = nil
		}
		select {
		case <-changed:
		case <-over:
			waited = true
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

// enter counts a request, and returns what counts its end.
func (a *memAgent) enter(endpoint, uri string) (leave func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked[endpoint]++
	if uri == "" {
		return func() {}
	}
	a.inFlight[uri]++
	a.twice = a.twice || a.inFlight[uri] > 1
	a.most = max(a.most, len(a.inFlight))
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.inFlight[uri]--; a.inFlight[uri] == 0 {
			delete(a.inFlight, uri)
		}
	}
}

// body is called with the lock held.
func (a *memAgent) body(endpoint string, req api.AgentAuthorizeParams) any {
	switch endpoint {
	case "leaf":
		return a.leaf
	case "roots":
		return a.roots
	case "match":
		return map[string][]*api.Intention{"web": a.match}
	case "authorize":
		service := path.Base(req.ClientCertURI)
		return api.AgentAuthorize{Authorized: a.allow[service], Reason: "as the test says for " + service}
	}
	return nil
}

func response(r *http.Request, status int, body any, index uint64) *http.Response {
	text, _ := json.Marshal(body)
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"X-Consul-Index": {strconv.FormatUint(index, 10)}},
		Body:   io.NopCloser(bytes.NewReader(text)),
	}
}
