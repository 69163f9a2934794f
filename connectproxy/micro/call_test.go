package micro

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

func TestAFailureSaysByItsCodeWhetherTheCallMayBeRepeated(t *testing.T) {
	m := &mesh{reasons: map[string]listener.Reason{
		"none": listener.ReasonNoEndpoints, "late": listener.ReasonDialTimeout, "down": listener.ReasonDialFailed,
		"hidden": listener.ReasonUpstreamDenied, "full": listener.ReasonLimit, "stopped": listener.ReasonUpstreamUnavailable,
		"wrong": listener.ReasonUpstreamIdentity,
	}}
	p := start(t, m, func(s *Server) {
		allow(t, s, "none", "late", "down", "hidden", "full", "stopped", "wrong")
	})
	c := p.caller(t)
	for name, want := range map[string]int{
		"none": 404, "late": 408, "down": 503, "hidden": 403, "full": 503, "stopped": 503, "wrong": 503,
		"forbidden": 403, "no name": 400, "": 400,
	} {
		_, e := c.call(name, "hello")
		if e.Code != want || e.ID != errorID || e.Status != http.StatusText(want) || e.Detail == "" {
			t.Errorf("%s: %+v, want code %d", name, e, want)
		}
	}
	if n := m.dials(); n != len(m.reasons) {
		t.Errorf("%d dials: what is not allowed was dialled", n)
	}
}

func TestACallThatTheServiceMayHaveSeenIsNotRepeated(t *testing.T) {
	s := newService(t, "db")
	p := start(t, &mesh{services: map[string]string{"db": s.Addr()}})
	c := p.caller(t)
	if got, e := c.call("db", "one"); got != "db got one" {
		t.Fatalf("%q %+v", got, e)
	}
	_, e := c.call("db", "two", "Break: yes")
	if e.Code != http.StatusBadGateway || s.messages.Load() != 2 {
		t.Errorf("%+v, %d messages", e, s.messages.Load())
	}
	if got, e := c.call("db", "three"); got != "db got three" {
		t.Errorf("afterwards: %q %+v", got, e)
	}
}

func TestACallEndsWithItsTime(t *testing.T) {
	s := newService(t, "db")
	p := start(t, &mesh{services: map[string]string{"db": s.Addr()}}, func(s *Server) { s.grace = 0 })
	c := p.caller(t)
	_, e := c.call("db", "hello", "Silent: yes", fmt.Sprintf("Timeout: %d", 100*time.Millisecond))
	if e.Code != http.StatusGatewayTimeout {
		t.Errorf("%+v", e)
	}
	listenertest.Eventually(t, "the connection to the service is closed", func() bool { return s.closed.Load() == 1 })
}

func TestACallMayHaveAllTheTimeThereIs(t *testing.T) {
	s := newService(t, "db")
	p := start(t, &mesh{services: map[string]string{"db": s.Addr()}})
	if _, e := p.caller(t).call("db", "hello", fmt.Sprintf("Timeout: %d", int64(math.MaxInt64))); e.Code != 0 {
		t.Errorf("%+v", e)
	}
}

func TestACallEndsWithItsClient(t *testing.T) {
	s := newService(t, "db")
	p := start(t, &mesh{services: map[string]string{"db": s.Addr()}})
	c := p.caller(t)
	c.send(messageTo("db", "hello", "Silent: yes"))
	listenertest.Eventually(t, "the message has arrived", func() bool { return s.messages.Load() == 1 })
	_ = c.Close()
	listenertest.Eventually(t, "the connection to the service is closed", func() bool { return s.closed.Load() == 1 })
}

func TestMessagesThatAreSentAtOnceAreAnsweredOneAfterAnother(t *testing.T) {
	one, two := newService(t, "one"), newService(t, "two")
	p := start(t, &mesh{services: map[string]string{"one": one.Addr(), "two": two.Addr()}})
	c := p.caller(t)
	var all strings.Builder
	for i := range 40 {
		all.WriteString(messageTo([]string{"one", "two"}[i%2], fmt.Sprint(i)))
	}
	c.send(all.String())
	for i := range 40 {
		_, got, e := c.answer()
		if want := fmt.Sprintf("%s got %d", []string{"one", "two"}[i%2], i); got != want {
			t.Fatalf("%q, want %q: %+v", got, want, e)
		}
	}
	if one.Accepted() > maxResting || two.Accepted() > maxResting {
		t.Errorf("%d and %d connections to the services", one.Accepted(), two.Accepted())
	}
}

func TestHeadersOfOneClientNeverReachAnother(t *testing.T) {
	s := newService(t, "db")
	p := start(t, &mesh{services: map[string]string{"db": s.Addr()}})
	a, b := p.caller(t), p.caller(t)
	a.send(messageTo("db", "hello", "Authorization: secret"))
	if r, _, _ := a.answer(); r.Header.Get("Authorization") != "secret" {
		t.Fatal("the service does not behave as Micro's do")
	}
	b.send(messageTo("db", "hello"))
	if r, _, _ := b.answer(); r.Header.Get("Authorization") != "" {
		t.Error("a client was shown the header of another")
	}
}

func TestLongBodiesPassInBothDirections(t *testing.T) {
	s := newService(t, "db")
	p := start(t, &mesh{services: map[string]string{"db": s.Addr()}})
	c := p.caller(t)
	for _, size := range []int{0, 1, maxKept - 1, maxKept, maxKept + 1, 3 << 20} {
		body := strings.Repeat("x", size)
		for _, header := range [][]string{nil, {"Chunked: yes"}} {
			if got, e := c.call("db", body, header...); got != "db got "+body {
				t.Fatalf("%d bytes: %d came back: %+v", size, len(got), e)
			}
		}
		chunked := p.caller(t) // whose connection ends with it
		chunked.send("POST / HTTP/1.1\r\nHost: here\r\nMicro-Service: db\r\nTransfer-Encoding: chunked\r\n\r\n")
		if size > 0 {
			chunked.send(fmt.Sprintf("%x\r\n%s\r\n", size, body))
		}
		chunked.send("0\r\n\r\n")
		if _, got, e := chunked.answer(); got != "db got "+body {
			t.Fatalf("%d bytes in chunks: %d came back: %+v", size, len(got), e)
		}
	}
	if s.Accepted() > maxResting {
		t.Errorf("%d connections to the service", s.Accepted())
	}
}

func TestConnectionsToServicesAreKeptWithinBounds(t *testing.T) {
	services := map[string]string{}
	all := map[string]*service{}
	for i := range maxIdleOfClient + 3 {
		name := fmt.Sprintf("s%d", i)
		all[name] = newService(t, name)
		services[name] = all[name].Addr()
	}
	p := start(t, &mesh{services: services})
	c := p.caller(t)
	for name := range services {
		if got, e := c.call(name, "hello"); got != name+" got hello" {
			t.Fatalf("%q %+v", got, e)
		}
	}
	closed := func() (n int64) {
		for _, s := range all {
			n += s.closed.Load()
		}
		return n
	}
	listenertest.Eventually(t, "what is too many is closed", func() bool { return closed() == 3 })
	_ = c.Close()
	listenertest.Eventually(t, "the rest goes with the client", func() bool { return closed() == int64(len(all)) })
	if n := p.idle.Load(); n != 0 {
		t.Errorf("%d are counted", n)
	}
}

func TestAConnectionToAServiceIsNotKeptForLongWithoutACall(t *testing.T) {
	s := newService(t, "db")
	p := start(t, &mesh{services: map[string]string{"db": s.Addr()}}, func(s *Server) { s.idleTime = 50 * time.Millisecond })
	c := p.caller(t)
	for i := range 2 {
		if got, e := c.call("db", "hello"); got != "db got hello" {
			t.Fatalf("%q %+v", got, e)
		}
		listenertest.Eventually(t, "the connection is closed", func() bool { return s.closed.Load() == int64(i+1) })
	}
}

func TestAServiceThatHasGoneMeanwhileIsDialledAgain(t *testing.T) {
	s := newService(t, "db")
	m := &mesh{services: map[string]string{"db": s.Addr()}}
	p := start(t, m)
	c := p.caller(t)
	if got, _ := c.call("db", "hello"); got != "db got hello" {
		t.Fatal(got)
	}
	s.Close()
	m.services["db"] = newService(t, "db").Addr()
	listenertest.Eventually(t, "calls are answered", func() bool {
		got, e := c.call("db", "again")
		if got != "db got again" && e.Code != http.StatusBadGateway {
			t.Fatalf("%q %+v", got, e)
		}
		return got == "db got again"
	})
}

func TestAStreamThatCannotBeIsAnAnswerAndAnEnd(t *testing.T) {
	p := start(t, &mesh{reasons: map[string]listener.Reason{"db": listener.ReasonUpstreamDenied}})
	for name, want := range map[string]int{"db": 403, "none": 404, "": 400} {
		c := p.caller(t)
		c.send(messageTo(name, "hello", "Micro-Stream: 1"))
		_, _, e := c.answer()
		if e.Code != want {
			t.Errorf("%q: %+v", name, e)
		}
		_ = c.CloseWrite()
		if more := c.gone(); more != "" {
			t.Errorf("%q: %q", name, more)
		}
	}
}

func TestPagesInABrowserCallNothing(t *testing.T) {
	m := &mesh{services: map[string]string{"db": newService(t, "db").Addr()}}
	p := start(t, m)
	for _, head := range []string{
		// A name that was led here; what came from here; what needs no leave.
		"Host: evil.example\r\nOrigin: http://evil.example\r\nMicro-Service: db",
		"Host: evil.example\r\nSec-Fetch-Site: same-origin\r\nMicro-Service: db",
		"Host: 127.0.0.1:8081\r\nOrigin: http://127.0.0.1:8081\r\nMicro-Service: db",
		"Host: 127.0.0.1:8081\r\nOrigin: null\r\nMicro-Service: db", // Firefox, where the page wants no referrer
		"Host: 127.0.0.1:8081\r\nOrigin: http://evil.example\r\nOrigin: http://127.0.0.1:8081\r\nMicro-Service: db",
		"Host: 127.0.0.1:8081\r\nOrigin: http://evil.example",
	} {
		for _, more := range []string{"X: y", "Micro-Stream: 1"} {
			c := p.caller(t)
			c.send("POST / HTTP/1.1\r\n" + head + "\r\n" + more + "\r\nContent-Length: 5\r\n\r\nhello")
			if _, _, e := c.answer(); e.Code != http.StatusForbidden {
				t.Errorf("%q: %+v", head, e)
			}
		}
	}
	// What a browser asks before it sends the header of a message to another origin.
	c := p.caller(t)
	c.send("OPTIONS / HTTP/1.1\r\nHost: 127.0.0.1:8081\r\nOrigin: http://evil.example\r\n" +
		"Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: micro-service\r\n\r\n")
	if r, body, _ := c.answer(); r.StatusCode < 400 || strings.Contains(fmt.Sprint(r.Header), "Access-Control") {
		t.Errorf("%s %v %q", r.Status, r.Header, body)
	}
	if m.dials() != 0 {
		t.Error("a service was dialled for a page")
	}
}

// As Micro's gateway does: it makes what it has from a browser the metadata of its call.
func TestACallMayHandOnTheHeadersOfABrowsersRequest(t *testing.T) {
	p := start(t, &mesh{services: map[string]string{"db": newService(t, "db").Addr()}})
	for _, browser := range []string{
		"Origin: https://shop.example\r\nSec-Fetch-Site: same-site\r\nAccept-Language: en", "Sec-Fetch-Site: same-origin",
	} {
		c := p.caller(t)
		c.send("POST / HTTP/1.1\r\nHost: 127.0.0.1:8081\r\nMicro-Service: db\r\n" + browser + "\r\nContent-Length: 5\r\n\r\nhello")
		if _, body, e := c.answer(); e.Code != 0 || body == "" {
			t.Errorf("%q: %+v", browser, e)
		}
	}
}
