package systemtest_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
)

// hop is the way to an instance, which can be spoilt for new connections. What
// is open stays open.
type hop struct {
	t    *testing.T
	addr string
	to   string

	mu   sync.Mutex // guards what follows
	ln   net.Listener
	mode string // "", "refuse", "blackhole", "reset", "garbage" or an address to lead to instead
	seen int    // connections
	held []net.Conn
	all  sync.WaitGroup
}

func newHop(t *testing.T, to string) *hop {
	t.Helper()
	h := &hop{t: t, addr: at(agenttest.FreePort(t)), to: to}
	h.listen()
	t.Cleanup(func() {
		h.refuse()
		h.mu.Lock()
		for _, c := range h.held {
			c.Close()
		}
		h.mu.Unlock()
		h.all.Wait()
	})
	return h
}

func (h *hop) listen() {
	h.t.Helper()
	ln, err := net.Listen("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.mu.Lock()
	h.ln = ln
	h.mu.Unlock()
	h.all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			h.serve(c)
		}
	})
}

// refuse closes the port.
func (h *hop) refuse() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ln.Close()
}

func (h *hop) serve(c net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen++
	h.held = append(h.held, c)
	to := h.to
	switch h.mode {
	case "":
	case "blackhole":
		return
	case "reset", "refuse":
		_ = c.(*net.TCPConn).SetLinger(0)
		c.Close()
		return
	case "garbage":
		_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		c.Close()
		return
	default:
		to = h.mode
	}
	h.all.Go(func() {
		defer c.Close()
		d, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer d.Close()
		h.all.Go(func() { _, _ = io.Copy(d, c); _ = d.(*net.TCPConn).CloseWrite() })
		_, _ = io.Copy(c, d)
	})
}

func (h *hop) spoil(mode string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mode, h.seen = mode, 0
}

func (h *hop) visitors() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seen
}

// endures spoils the way to db-2 under traffic, and mends it again.
func (h *hop) endures(l *load, client *proxyProcess, mode, log string) {
	h.t.Helper()
	from := time.Now()
	said := len(client.Output.Lines())
	h.spoil(mode)
	if mode == "refuse" {
		h.refuse()
	}
	agenttest.Eventually(h.t, soon, func() error {
		for _, line := range client.Output.Lines()[said:] {
			if strings.Contains(line, "instance set aside") {
				if !strings.Contains(line, "/db-2 ") || !strings.Contains(line, log) {
					h.t.Errorf("not %s of db-2: %s", log, line)
				}
				return nil
			}
		}
		return errors.New("nothing is set aside")
	})
	l.flows(100)
	o := l.outcome(from)
	h.t.Log(o)
	complain(h.t, o.lost)
	complain(h.t, o.refused)
	most := 12
	if mode == "blackhole" {
		most = 36 // it is tried for three times as long as it takes twelve to come
	}
	if n := h.visitors(); n > most {
		h.t.Errorf("%d of %d connections tried it", n, o.visits)
	}
	if mode == "refuse" {
		h.listen()
	}
	h.spoil("")
	healed := time.Now()
	agenttest.Eventually(h.t, effect, func() error {
		if h.visitors() < 3 {
			return fmt.Errorf("%d connections took the instance that recovered", h.visitors())
		}
		return nil
	})
	h.t.Logf("it is in use again after %s", time.Since(healed).Round(time.Millisecond))
}

func TestOneOfFourInstancesMayBeBadInEveryWay(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	port := agenttest.FreePorts(t, 8)
	other := sidecar{name: "other", app: portOf(app(t, "other")), port: port, config: calmly(nil)}
	other.start(t, a)
	db := sidecar{name: "db", app: portOf(app(t, "db")), port: port + 1, config: calmly(nil)}
	db.start(t, a)
	// Three more instances are three more ways to the same proxy.
	a.WaitConnect("db", 1)
	a.Deregister("db-sidecar-proxy")
	var hops []*hop
	for i := range 4 {
		h := newHop(t, at(db.port))
		hops = append(hops, h)
		_, p, _ := net.SplitHostPort(h.addr)
		var n int
		fmt.Sscan(p, &n)
		a.Register(&api.AgentServiceRegistration{
			Kind: api.ServiceKindConnectProxy, ID: fmt.Sprintf("db-%d", i), Name: "db-proxy", Port: n,
			Proxy: &api.AgentServiceConnectProxyConfig{DestinationServiceName: "db"},
		})
	}
	a.WaitConnect("db", 4)
	leads := up("db", port+3)
	// In turn: by the number of live connections the instance that happens to
	// hold the load's open one would not be dialled at all.
	// Of nine seconds a machine that does much else may need some, and an instance
	// that says nothing gets three.
	leads.Config = map[string]any{"connect_timeout_ms": 9000, "balance": "round_robin"}
	web := sidecar{name: "web", app: 1, port: port + 2, upstreams: []api.Upstream{leads}}
	client := web.start(t, a)
	to := at(port + 3)
	reaches(t, to, "db")

	began := time.Now()
	l := startLoad(t, way{to, "db"})
	l.flows(20)
	bad := hops[2]
	for _, tc := range []struct {
		name, mode string
		log        string // what the client's log says of it
	}{
		{"refuses", "refuse", "reason=refused"},
		{"accepts and says nothing", "blackhole", "reason=timeout"},
		{"resets", "reset", "reason=reset"},
		{"is no TLS server", "garbage", "reason=tls"},
		{"is another service", at(other.port), "reason=identity"},
	} {
		t.Logf("the instance %s", tc.name)
		bad.endures(l, client, tc.mode, tc.log)
	}
	l.stop()
	l.unharmed(began)
}
