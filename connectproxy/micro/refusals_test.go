package micro

import (
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/upstream/loglimit"
)

func TestRefusedCallsAreWarnedOfAtABoundedRate(t *testing.T) {
	for kind, refuse := range map[string]func(p *proxy, c *caller){
		"a message": func(_ *proxy, c *caller) {
			if _, e := c.call("secret", "hello"); e.Code != 403 {
				t.Errorf("a message: %+v, want code 403", e)
			}
		},
		"a path": func(p *proxy, _ *caller) {
			if status, _, body := p.send(t, "POST", "/rpc", "application/json", `{"service": "secret", "method": "S.M"}`); status != 403 {
				t.Errorf("a path: %d %s, want 403", status, body)
			}
		},
	} {
		t.Run(kind, func(t *testing.T) {
			var log agenttest.Log
			p := start(t, &mesh{}, func(s *Server) {
				s.o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &log})
				allow(t, s, "db")
			})
			c := p.caller(t)
			for range 3 * loglimit.Lines {
				refuse(p, c)
			}
			lines := strings.Count(log.String(), "call refused")
			if lines < loglimit.Lines || lines > 2*loglimit.Lines {
				t.Errorf("%d lines of %d refusals, want %d:\n%s", lines, 3*loglimit.Lines, loglimit.Lines, log.String())
			}
			if !strings.Contains(log.String(), "[WARN]") || !strings.Contains(log.String(), "service=secret") {
				t.Errorf("the log does not warn of the service:\n%s", log.String())
			}
		})
	}
}

func TestALongNameIsCutInTheLog(t *testing.T) {
	var log agenttest.Log
	p := start(t, &mesh{}, func(s *Server) {
		s.o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &log})
	})
	c := p.caller(t)
	c.send("POST / HTTP/1.1\r\nHost: here\r\nOrigin: null\r\nMicro-Service: " + strings.Repeat("x", 50_000) + "\r\nContent-Length: 0\r\n\r\n")
	if _, _, e := c.answer(); e.Code != 403 {
		t.Fatalf("%+v, want code 403", e)
	}
	if text := log.String(); strings.Count(text, "x") > maxLogged+100 || !strings.Contains(text, "call refused") {
		t.Errorf("the log has %d bytes: %.400s", len(text), text)
	}
}
