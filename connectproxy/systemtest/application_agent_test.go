package systemtest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
)

// asked is status and body of an answer to a request.
func asked(method, address, body string) (string, error) {
	r, err := http.NewRequest(method, "http://"+address, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	return statusAndBody((&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}).Do(r))
}

func statusAndBody(r *http.Response, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return fmt.Sprintf("%d %s", r.StatusCode, b), err
}

// called is the answer of a service that a proxy is asked for by its name, or why
// there is none.
func called(proxy, name string) (string, error) {
	c, err := net.DialTimeout("tcp", proxy, soon)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(soon))
	fmt.Fprintf(c, "CONNECT %s:80 HTTP/1.1\r\nHost: %s:80\r\n\r\n", name, name)
	from := bufio.NewReader(c)
	r, err := http.ReadResponse(from, &http.Request{Method: http.MethodConnect})
	if err != nil || r.StatusCode != http.StatusOK {
		return statusAndBody(r, err)
	}
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", name)
	return statusAndBody(http.ReadResponse(from, nil))
}

func TestAnApplicationThatItsProxyRegistersIsCalledWhileItIsHealthy(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	var status atomic.Int64
	status.Store(http.StatusOK)
	health := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(int(status.Load())) }))
	defer health.Close()
	port := agenttest.FreePorts(t, 3)
	greeter := runProxy(t, a, "-server-name", "greeter", "-server-address", at(web(t, "greeter")), "-listen", at(port),
		"-healthcheck-url", health.URL+"/health").ready()
	runProxy(t, a, "-service", "shop", "-by-name-addr", at(port+1), "-by-name-allow", "greeter",
		"-micro-addr", at(port+2), "-micro-allow", "greeter,shop", "-micro-register", "shop").ready()
	says := func(what string, how func() (string, error)) {
		t.Helper()
		agenttest.Eventually(t, soon, func() error {
			got, err := how()
			if err == nil && !strings.HasPrefix(got, what) {
				err = fmt.Errorf("%q, want %q", got, what)
			}
			return err
		})
	}
	call := func() (string, error) { return called(at(port+1), "greeter") }
	shown := func() (string, error) { return asked("GET", at(port+2)+"/registry?service=greeter", "") }

	a.WaitConnect("greeter", 1)
	says("200 greeter", call)
	says(`200 [{"name":"greeter"`, shown)

	status.Store(http.StatusServiceUnavailable)
	a.WaitConnect("greeter", 0)
	says("404", shown)
	says("503", call)
	if r, err := greeter.readiness(); err != nil || !r.Ready {
		t.Errorf("the proxy itself is %+v, %v", r, err)
	}
	greeter.WaitOutput(soon, "/health: 503 Service Unavailable")

	status.Store(http.StatusOK)
	a.WaitConnect("greeter", 1)
	says("200 greeter", call)

	// What an application registers by itself, until its proxy stops, or it is late.
	const node = `{"name": "shop", "version": "1.2", "nodes": [{"id": "shop-1", "address": "10.0.0.1:9091"}]}`
	says("200", func() (string, error) { return asked("POST", at(port+2)+"/registry?ttl=1s", node) })
	registry := func() (string, error) { return asked("GET", at(port+2)+"/registry?service=shop", "") }
	says("404", registry) // it is late
	says("200", func() (string, error) { return asked("POST", at(port+2)+"/registry?ttl=1h", node) })
	says(`200 [{"name":"shop","version":"1.2"`, registry)
	got, err := asked("POST", at(port+2)+"/registry", strings.Replace(node, "shop-1", "greeter", 1))
	if err != nil || !strings.HasPrefix(got, "403") {
		t.Errorf("in the place of another service: %s, %v", got, err)
	}
	says("200", func() (string, error) { return asked("DELETE", at(port+2)+"/registry", node) })
	says("404", registry)

	greeter.Signal(syscall.SIGTERM)
	agenttest.Eventually(t, soon, func() error {
		all, err := a.Client.Agent().Services()
		if err == nil && len(all) > 0 {
			err = fmt.Errorf("the agent still has %v", all)
		}
		return err
	})
}
