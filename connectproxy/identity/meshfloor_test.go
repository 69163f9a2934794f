package identity

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

// raised returns the identity of web, to whom an agent has said that TLS 1.3 is
// the least; other, once it is set, answers for the mesh's entry from then on.
func raised(t *testing.T, agent *fakeagent.Agent) (web *Identity, other *atomic.Pointer[http.HandlerFunc]) {
	t.Helper()
	agent.Answer("/v1/config/mesh", entry("Incoming", map[string]any{"TLSMinVersion": "TLSv1_3"}))
	back, err := url.Parse(agent.URL)
	if err != nil {
		t.Fatal(err)
	}
	other = new(atomic.Pointer[http.HandlerFunc])
	pass := httputil.NewSingleHostReverseProxy(back)
	transport := &http.Transport{}
	pass.Transport = transport
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := other.Load(); h != nil && r.URL.Path == "/v1/config/mesh" {
			(*h)(w, r)
			return
		}
		pass.ServeHTTP(w, r)
	}))
	client := &http.Transport{}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		front.CloseClientConnections()
		front.Close()
		transport.CloseIdleConnections()
	})
	consul, err := api.NewClient(&api.Config{Address: front.URL, HttpClient: &http.Client{Transport: client}})
	if err != nil {
		t.Fatal(err)
	}
	return ready(t, running(t, Options{Client: consul, Service: "web"})), other
}

func TestAnAgentThatCannotSayWhatTheMeshAllowsLowersNothing(t *testing.T) {
	says := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	for name, answer := range map[string]http.HandlerFunc{
		"an error":               says(500, "rpc error"),
		"an older agent":         says(500, "invalid config entry kind: mesh"),
		"no such path":           says(404, "404 page not found"),
		"a bad request":          says(400, "Bad request"),
		"a ban":                  says(403, "Permission denied"),
		"nothing":                says(200, ""),
		"half an answer":         says(200, `[{"Kind":"mesh","TLS":{"Inc`),
		"an entry of its own":    says(200, `[{}]`),
		"another kind's":         says(200, `[{"Kind":"service-resolver","Name":"x"}]`),
		"a version not known":    says(200, `[{"Kind":"mesh","TLS":{"Incoming":{"TLSMinVersion":"TLSv9"}}}]`),
		"a server that lags":     lagging,
		"something of its own":   says(200, `<html>`),
		"what has another shape": says(200, `{"Kind":"mesh"}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			agent := fakeagent.New(t, fakeagent.Options{})
			web, other := raised(t, agent)
			var asked atomic.Int32
			counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				answer(w, r)
				asked.Add(1)
			})
			other.Store(&counted)
			// By the third question what the first brought is in force, if anything.
			listenertest.Eventually(t, "it has asked three times", func() bool { web.mesh.Refresh(); return asked.Load() > 2 })
			if taken, _ := answered(t, agent, web, &tls.Config{MaxVersion: tls.VersionTLS12}); taken {
				t.Error("a client of TLS 1.2 was taken")
			}
			if taken, _ := answered(t, agent, web, &tls.Config{}); !taken {
				t.Error("a client of TLS 1.3 was not taken")
			}
		})
	}
}

// lagging is a server that has not heard of the entry yet, and passes on to the
// leader what must be true now.
func lagging(w http.ResponseWriter, r *http.Request) {
	body := `[{"Kind":"mesh","TLS":{"Incoming":{"TLSMinVersion":"TLSv1_3"}}}]`
	if r.URL.Query().Has("stale") {
		body = `[]`
	}
	_, _ = w.Write([]byte(body))
}

func TestWhereTheMeshsBoundsAreNotKnownTheProxysOwnHoldAndThisIsSaid(t *testing.T) {
	agent := fakeagent.New(t, fakeagent.Options{})
	agent.Answer("/v1/config/mesh", "nothing of use")
	said := &agenttest.Log{}
	logger := hclog.New(&hclog.LoggerOptions{Output: said})
	web := ready(t, running(t, Options{Client: agent.Client(""), Service: "web", Logger: logger}))
	if taken, _ := answered(t, agent, web, &tls.Config{MaxVersion: tls.VersionTLS12}); !taken {
		t.Error("a client of TLS 1.2 was not taken, though nothing forbids it")
	}
	if log := said.String(); !strings.Contains(log, "the proxy's own settings hold") {
		t.Errorf("the log does not say what is in force:\n%s", log)
	}
	if m := web.Status().Mesh; m == nil || m.Known || m.Error == "" || m.Incoming != "" {
		t.Errorf("the status is %+v", m)
	}
	agent.Answer("/v1/config/mesh", entry("Incoming", map[string]any{"TLSMinVersion": "TLSv1_3"}))
	web.mesh.Refresh()
	listenertest.Eventually(t, "a client of TLS 1.2 is refused", func() bool {
		taken, _ := answered(t, agent, web, &tls.Config{MaxVersion: tls.VersionTLS12})
		return !taken
	})
	if m := web.Status().Mesh; !m.Known || m.Error != "" || m.Incoming != "at least TLS 1.3" || m.Outgoing != "" || len(m.Problems) != 0 {
		t.Errorf("the status is %+v", m)
	}
}

func TestTheMeshsBoundsEndWithTheirEntry(t *testing.T) {
	agent := fakeagent.New(t, fakeagent.Options{})
	web, _ := raised(t, agent)
	agent.Answer("/v1/config/mesh", []any{})
	web.mesh.Refresh()
	listenertest.Eventually(t, "a client of TLS 1.2 is taken", func() bool {
		taken, _ := answered(t, agent, web, &tls.Config{MaxVersion: tls.VersionTLS12})
		return taken
	})
}

func TestAHandshakeThatBeganBeforeTheMeshForbadeItsVersionDoesNotPass(t *testing.T) {
	agent := fakeagent.New(t, fakeagent.Options{})
	web := ready(t, running(t, Options{Client: agent.Client(""), Service: "web"}))
	begun := make(chan struct{})
	here := serve(t, "web", func(ctx context.Context, raw net.Conn) (listener.Session, error) {
		return web.Handshake(ServerTLS{})(ctx, readsTell{raw, begun})
	})
	raw, err := net.Dial("tcp", here.ep.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	<-begun // the handshake has its configuration, and waits for the client
	agent.Answer("/v1/config/mesh", entry("Incoming", map[string]any{"TLSMinVersion": "TLSv1_3"}))
	number := web.Status().Generation
	web.mesh.Refresh()
	listenertest.Eventually(t, "the entry is in force", func() bool { return web.Status().Generation > number })
	client := tls.Client(raw, &tls.Config{
		MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{agent.Certificate("api")}, InsecureSkipVerify: true,
	})
	_ = client.Handshake() // the client's side of it may well end before the server's
	select {
	case <-here.refused:
	case <-here.sessions:
		t.Error("TLS 1.2 was taken when the mesh had forbidden it")
	}
}

// readsTell closes begun at the first read.
type readsTell struct {
	net.Conn
	begun chan struct{}
}

func (c readsTell) Read(b []byte) (int, error) {
	select {
	case <-c.begun:
	default:
		close(c.begun)
	}
	return c.Conn.Read(b)
}
