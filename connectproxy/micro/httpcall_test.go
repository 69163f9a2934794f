package micro

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest/gomicro"
)

func TestPathsNameMethodsAsInMicrosOwnSidecar(t *testing.T) {
	for path, want := range map[string]method{
		"/foo/bar":              {"ns.foo", "Foo.Bar"},
		"/foo/bar/":             {"ns.foo", "Foo.Bar"},
		"/foo/bar/baz":          {"ns.foo", "Bar.Baz"},
		"/foo/bar/baz/cat":      {"ns.foo.bar", "Baz.Cat"},
		"/v1/foo/bar":           {"ns.v1.foo", "Foo.Bar"},
		"/v1/foo/bar/baz":       {"ns.v1.foo", "Bar.Baz"},
		"/foo-bar/get-by-name":  {"ns.foo-bar", "FooBar.GetByName"},
		"/foo/bar/Baz":          {"ns.foo", "Bar.Baz"},
		"/v1/foo":               {"ns.v1", "V1.Foo"},
		"/":                     {},
		"/foo":                  {},
		"//foo/bar":             {"ns.foo", "Foo.Bar"},
		"/foo//bar":             {},
		"/foo/bar/baz/cat/hops": {"ns.foo.bar.baz", "Cat.Hops"},
	} {
		got, err := methodOf(path, "ns")
		if got != want || (err == nil) != (want != method{}) {
			t.Errorf("%s: %+v, %v; want %+v", path, got, err, want)
		}
	}
	if got, _ := methodOf("/foo/bar", "-"); got.service != "foo" {
		t.Errorf("without a namespace: %+v", got)
	}
}

// send sends a request and returns status, type and body of the answer.
func (p *proxy) send(t *testing.T, verb, path, kind, body string, headers ...string) (int, string, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), verb, "http://"+p.address()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Set(k, v)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	answer, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header.Get("Content-Type"), string(b)
}

func TestRequestsWithoutAClientOfMicroCallServices(t *testing.T) {
	address := gomicro.Serve(t, "v5", "greeter").Address
	p := start(t, &mesh{services: map[string]string{"greeter": address, "go.micro.srv.greeter": address}})
	const json, form = "application/json", "application/x-www-form-urlencoded"
	const hello = `{"msg":"greeter says hello to John"}`
	for _, x := range []struct {
		verb, path, kind, body string
		status                 int
		answer                 string
	}{
		{"POST", "/rpc", json, `{"service": "greeter", "method": "Greeter.Hello", "request": {"name": "John"}}`, 200, hello},
		{"POST", "/rpc", json, `{"service": "greeter", "method": "Greeter.Hello", "request": "{\"name\": \"John\"}"}`, 200, hello},
		{"POST", "/rpc", form, url.Values{"service": {"greeter"}, "method": {"Greeter.Hello"}, "request": {`{"name": "John"}`}}.Encode(), 200, hello},
		{"POST", "/greeter/hello", json, `{"name": "John"}`, 200, hello},
		{"POST", "/greeter/greeter/hello", json, `{"name": "John"}`, 200, hello},
		{"POST", "/rpc", json, `{"service": "greeter", "method": "Greeter.Fail", "request": {"name": "John"}}`, 409, `"code":409`},
		{"POST", "/rpc", json, `{"service": "greeter", "method": "Greeter.None"}`, 500, `can't find method None`},
		{"POST", "/rpc", json, `{"service": "nobody", "method": "Greeter.Hello"}`, 404, `"code":404`},
		{"POST", "/rpc", json, `{"method": "Greeter.Hello"}`, 400, `"code":400`},
		{"POST", "/rpc", json, `{"service": "greeter"}`, 400, `"code":400`},
		{"POST", "/rpc", json, `{"service": "greeter", "method": "Greeter.Hello", "address": "127.0.0.1:1"}`, 400, `"code":400`},
		{"POST", "/rpc", json, `{`, 400, `"code":400`},
		{"GET", "/rpc", "", ``, 405, `services are called by POST`},
		{"POST", "/rpc", form, `{"service": "greeter"}`, 400, `JSON has the header Content-Type: application/json`},
		{"GET", "/greeter/hello", "", ``, 405, `services are called by POST`},
		{"POST", "/greeter/hello", "", `{"name": "John"}`, 200, hello},
		{"POST", "/greeter/hello", "", ``, 200, `greeter says hello to`},
		{"POST", "/greeter/hello", json, ``, 200, `greeter says hello to`},
		{"POST", "/greeter/hello", "text/plain", `{}`, 415, `unsupported content-type`},
		{"POST", "/greeter/hello", form, `name=John`, 415, `use application/json or application/protobuf`},
		{"POST", "/greeter/hello", ";", `{}`, 415, `unsupported content-type`},
		{"POST", "/greeter", json, `{}`, 400, `names no service and method`},
	} {
		status, kind, body := p.send(t, x.verb, x.path, x.kind, x.body)
		if status != x.status || !strings.Contains(body, x.answer) {
			t.Errorf("%s %s %s: %d %q, want %d %q", x.verb, x.path, x.body, status, body, x.status, x.answer)
		}
		if status != 405 && kind != json {
			t.Errorf("%s %s: %s", x.path, x.body, kind)
		}
	}
}

func TestAPathThatTheNamespaceLeadsElsewhereSaysSo(t *testing.T) {
	for name, handler := range map[string]config.MicroHandler{"calls": config.MicroRPC, "requests": config.MicroProxy} {
		for allow, want := range map[string]string{
			"greeter": `denied: micro does not allow go.micro.srv.greeter: add it to allow; paths begin with the namespace \"go.micro.srv\": for greeter set namespace = \"-\"`,
			"*":       `nobody is called \"go.micro.srv.greeter\"; paths begin with the namespace`,
			"other":   `micro does not allow go.micro.srv.greeter: add it to allow"`,
		} {
			p := start(t, &mesh{}, func(s *Server) {
				if err := s.Update(config.Micro{Allow: []string{allow}, Namespace: config.DefaultMicroNamespace, Handler: handler}); err != nil {
					t.Fatal(err)
				}
			})
			if status, _, body := p.send(t, "POST", "/greeter/hello", "application/json", "{}"); status != 403 && status != 404 || !strings.Contains(body, want) {
				t.Errorf("%s, allow %s: %d %s, want %s", name, allow, status, body, want)
			}
		}
	}
	p := start(t, &mesh{})
	if _, _, body := p.send(t, "POST", "/rpc", "application/json", `{"service": "go.micro.srv.greeter", "method": "A.B"}`); strings.Contains(body, "namespace") {
		t.Errorf("without a path: %s", body)
	}
}

func TestRequestsArePassedOnWhereTheHandlerIsProxy(t *testing.T) {
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s of %s", r.Method, r.URL, r.Host)
	})}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- web.Serve(ln) }()
	t.Cleanup(func() {
		_ = web.Close()
		<-done
	})
	p := start(t, &mesh{services: map[string]string{"go.micro.srv.web": ln.Addr().String()}}, func(s *Server) {
		if err := s.Update(config.Micro{Allow: []string{"*"}, Namespace: config.DefaultMicroNamespace, Handler: config.MicroProxy}); err != nil {
			t.Fatal(err)
		}
	})
	if status, _, body := p.send(t, "GET", "/web/a/b?c=d", "", ""); status != 200 || body != "GET /web/a/b?c=d of "+p.address() {
		t.Errorf("%d %q", status, body)
	}
	if status, _, body := p.send(t, "GET", "/none/a", "", ""); status != 404 {
		t.Errorf("%d %q", status, body)
	}
	if status, _, body := p.send(t, "GET", "/web/a", "", "", "Origin: http://evil.example"); status != 403 {
		t.Errorf("%d %q", status, body)
	}
}

func TestRequestsAreTakenUnderTheNamesOfThisMachine(t *testing.T) {
	p := start(t, &mesh{})
	for _, host := range []string{"localhost", "LOCALHOST:80", "127.0.0.1:80", "127.3.2.1", "[::1]:80", "[::1]"} {
		c := p.caller(t)
		c.send("GET /rpc HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
		if r, body, _ := c.answer(); r.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d %q", host, r.StatusCode, body)
		}
	}
}

func TestARequestWithoutAPathNamesNoService(t *testing.T) {
	for _, handler := range []config.MicroHandler{config.MicroRPC, config.MicroProxy} {
		p := start(t, &mesh{}, func(s *Server) {
			if err := s.Update(config.Micro{Allow: []string{"*"}, Namespace: "-", Handler: handler}); err != nil {
				t.Fatal(err)
			}
		})
		c := p.caller(t)
		for host, want := range map[string]int{"localhost": 400, "evil.example": 403, "localhost:80;x": 403} {
			c.send("OPTIONS * HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
			if r, body, _ := c.answer(); r.StatusCode != want || body == "" {
				t.Errorf("%s, %s: %d %q", handler, host, r.StatusCode, body)
			}
		}
	}
}

func TestABodyThatStopsHalfWayIsGivenUp(t *testing.T) {
	p := start(t, &mesh{}, func(s *Server) { s.stallTime = 100 * time.Millisecond })
	for _, path := range []string{"/rpc", "/greeter/hello", "/registry"} {
		c := p.caller(t)
		c.send("POST " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{")
		if r, body, _ := c.answer(); r.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d %q", path, r.StatusCode, body)
		}
	}
}

func TestASiteWhoseNameLeadsHereCallsNothing(t *testing.T) {
	s := newService(t, "greeter")
	m := &mesh{services: map[string]string{"go.micro.srv.greeter": s.Addr()}}
	p := start(t, m)
	c := p.caller(t)
	for _, host := range []string{
		"evil.example", "0.0.0.0", "0.0.0.0:80", "[::]:80", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]:80",
		"printer", "printer:80", "ai.", "10.0.0.1:80", "app.localhost", "localhost.evil.example",
	} {
		c.send("POST /greeter/hello HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
		if r, body, _ := c.answer(); r.StatusCode != http.StatusForbidden || m.dials() != 0 {
			t.Errorf("%s: %d %q", host, r.StatusCode, body)
		}
	}
}

func TestASiteWhoseNameLeadsToAPortForOtherMachinesReadsNothing(t *testing.T) {
	s := newService(t, "greeter")
	p := start(t, &mesh{services: map[string]string{"greeter": s.Addr()}}, func(s *Server) {
		if err := s.Update(config.Micro{Allow: []string{"*"}, RemoteClients: true, Bind: config.Address{Host: "sidecar.example"}, HostNames: []string{"proxy.example"}}); err != nil {
			t.Fatal(err)
		}
	})
	c := p.caller(t)
	const (
		browser = "\r\nAccept-Language: en"
		node    = "\r\nAccept-Language: *\r\nUser-Agent: node\r\nSec-Fetch-Mode: cors"
	)
	for head, want := range map[string]int{
		"sidecar.team.svc:8081": 405, "10.0.0.1:8081": 405, "10.0.0.1:8081" + node: 405, "proxy.example:8081" + node: 405,
		"evil.proxy.example" + browser: 403, "evil.example:8081" + browser: 403, "printer" + browser: 403, "0.0.0.0" + browser: 403,
	} {
		c.send("GET /rpc HTTP/1.1\r\nHost: " + head + "\r\n\r\n")
		r, body, _ := c.answer()
		if r.StatusCode != want || want == http.StatusForbidden && !strings.Contains(body, "micro.host_names") {
			t.Errorf("%q: %d %q", head, r.StatusCode, body)
		}
	}
}

// Where a browser does not say whose page asks, it may be any site's: an image or a
// script of a page that knows the name.
func TestUnderNamesOfItsOwnTooThePortAnswersNoBrowser(t *testing.T) {
	for _, remote := range []bool{false, true} {
		m := &mesh{services: map[string]string{"greeter": newService(t, "greeter").Addr()}}
		p := start(t, m, func(s *Server) {
			if err := s.Update(config.Micro{Allow: []string{"*"}, Handler: config.MicroProxy, RemoteClients: remote, Bind: config.Address{Host: "sidecar.example"}, HostNames: []string{"proxy.example"}}); err != nil {
				t.Fatal(err)
			}
		})
		c := p.caller(t)
		for _, host := range []string{"proxy.example:8081", "sidecar.example", "10.0.0.1:8081"} {
			for _, browser := range []string{
				"Accept-Language: en", "User-Agent: Mozilla/5.0 (X11; Linux x86_64)", "User-Agent: Mozilla/5.0\r\nAccept-Language: *",
				"Sec-Fetch-Site: none", "Origin: http://" + host,
			} {
				c.send("GET /greeter/x HTTP/1.1\r\nHost: " + host + "\r\n" + browser + "\r\n\r\n")
				if r, body, _ := c.answer(); r.StatusCode != http.StatusForbidden {
					t.Errorf("%s, %q: %d %q", host, browser, r.StatusCode, body)
				}
			}
		}
		if m.dials() != 0 {
			t.Error("a service was dialled for a page")
		}
	}
}

func TestARequestThatStopsHalfWayIsGivenUp(t *testing.T) {
	p := start(t, &mesh{}, func(s *Server) { s.stallTime = 100 * time.Millisecond })
	for _, head := range []string{
		"POST /rpc HTTP/1.1\r\nContent-Type: application/json", "POST /rpc HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded",
		"POST /greeter/hello HTTP/1.1", "POST /registry HTTP/1.1",
	} {
		c := p.caller(t)
		c.send(head + "\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
		if r, body, _ := c.answer(); r.StatusCode < 400 {
			t.Errorf("%q: %s %s", head, r.Status, body)
		}
	}
}

func TestTheTimeOfAnEventIsTheBrokersToBound(t *testing.T) {
	p := start(t, &mesh{}, func(s *Server) { s.stallTime = 50 * time.Millisecond })
	for _, path := range []string{"/broker?topic=orders", "/?id=x"} {
		c := p.caller(t)
		c.send("POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 42\r\n\r\n")
		<-time.After(300 * time.Millisecond) // a deadline of each read would be over
		c.send(`{"Header":{"Micro-Topic":"orders"},"a": 1}`)
		if r, body, _ := c.answer(); r.StatusCode != http.StatusOK {
			t.Errorf("%s: %s %s", path, r.Status, body)
		}
	}
}
