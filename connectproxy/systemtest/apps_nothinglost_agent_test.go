package systemtest_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
)

// TestNothingIsLostWhileEverythingChanges has sixteen connections carry random
// data both ways, and more come and go, while the leafs and the roots are
// replaced twice, both registrations change and other services are denied. An
// agent takes up to half a minute to renew a leaf after a rotation.
func TestNothingIsLostWhileEverythingChanges(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	stage := newStage(t)
	port := agenttest.FreePorts(t, 4)
	db := sidecar{name: "db", app: portOf(stage.Server), port: port}
	web := sidecar{name: "web", app: 1, port: port + 1, upstreams: []api.Upstream{up("db", port+2)}}
	a.Intention("web", "db", "allow")
	proxies := []*profiled{db.startProfiled(t, a), web.startProfiled(t, a)}
	a.WaitConnect("db", 1)
	agenttest.Eventually(t, soon, func() error { return knows(proxies[1].proxyProcess, "db") })
	m := &fabric{agent: a, stage: stage, address: map[string]string{"stage": at(port + 2)}}

	stop := make(chan struct{})
	var transfers []transfer
	for range 16 {
		transfers = append(transfers, m.begin(t, stop))
	}
	for round := range 2 {
		before := make([]string, len(proxies))
		for i, p := range proxies {
			before[i] = leafOf(t, p)
		}
		a.RotateRoot()
		for step := 0; !renewed(t, proxies, before, round+2); step++ {
			m.passing(t)
			a.Intention([]string{"other", "*", "another"}[step%3], []string{"db", "other"}[step%2], []string{"deny", "allow", "deny", "deny"}[step%4])
			a.Intention("*", "web", "deny")
			// Everything of the registrations but what the transfers stand on.
			db.config = map[string]any{"max_inbound_connections": 100 + step, "handshake_timeout_ms": 5000 + step, "local_connect_timeout_ms": 5000 + step}
			db.register(a)
			web.upstreams[0].Config = map[string]any{"connect_timeout_ms": 5000 + step, "limits": map[string]any{"max_connections": 100 + step}}
			web.upstreams = web.upstreams[:1]
			if step%2 == 0 {
				web.upstreams = append(web.upstreams, up("other", port+3))
			}
			web.register(a)
			pause(500 * time.Millisecond)
		}
	}
	m.passing(t)
	close(stop)
	var total int64
	for i, tr := range transfers {
		client := <-tr.client
		ends(t, tr.over, nil)
		if client.err != nil {
			t.Errorf("transfer %d: %v", i, client.err)
		}
		same(t, fmt.Sprintf("transfer %d, up", i), tr.app.arrived, client.sent)
		same(t, fmt.Sprintf("transfer %d, down", i), client.arrived, tr.app.sent)
		if client.sent.n == 0 || tr.app.sent.n == 0 {
			t.Errorf("transfer %d carried %d bytes up and %d down", i, client.sent.n, tr.app.sent.n)
		}
		total += client.sent.n + tr.app.sent.n
	}
	t.Logf("%d bytes on %d connections", total, len(transfers))
}

// transfer is a connection that carries data both ways. app is the stage's side
// of it and to be read when over has been heard.
type transfer struct {
	client <-chan flow
	app    *flow
	over   <-chan error
}

// flow is what went through one end.
type flow struct {
	sent, arrived hashed
	err           error
}

// begin starts a transfer that goes on until stop is closed.
func (m *fabric) begin(t *testing.T, stop <-chan struct{}) transfer {
	t.Helper()
	app := &flow{}
	c, over := m.scene(t, func(c *net.TCPConn) error {
		*app = trickle(c, stop)
		return app.err
	})
	client := make(chan flow, 1)
	go func() { client <- trickle(c, stop) }()
	return transfer{client, app, over}
}

// trickle sends bursts of random data until stop is closed, and reads to the
// other side's end.
func trickle(c *net.TCPConn, stop <-chan struct{}) flow {
	_ = c.SetDeadline(time.Now().Add(4 * time.Minute))
	sending := make(chan flow, 1)
	go func() {
		h, data := sha256.New(), stream(int(seeds.Add(1)))
		var f flow
		defer func() {
			f.sent.sum = hex.EncodeToString(h.Sum(nil))
			_ = c.CloseWrite()
			sending <- f
		}()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			n, err := io.CopyN(io.MultiWriter(h, c), data, rand.Int64N(96<<10)+1)
			f.sent.n += n
			if f.err = err; err != nil {
				return
			}
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	arrived, err := drink(c)
	f := <-sending
	f.arrived = arrived
	if f.err == nil {
		f.err = err
	}
	return f
}

// passing is a connection that comes and goes.
func (m *fabric) passing(t *testing.T) {
	t.Helper()
	var sent, arrived [2]hashed
	c, over := m.scene(t, func(app *net.TCPConn) error { return both(app, &sent[0], &arrived[1], 70_001) })
	if err := both(c, &sent[1], &arrived[0], 30_003); err != nil {
		t.Error(err)
	}
	ends(t, over, nil)
	same(t, "down", arrived[0], sent[0])
	same(t, "up", arrived[1], sent[1])
	c.Close()
}

func leafOf(t *testing.T, p *profiled) string {
	t.Helper()
	s, err := p.status()
	if err != nil || s.Identity == nil {
		t.Fatal(s, err)
	}
	return s.Identity.LeafSerial
}

// renewed reports whether all proxies have another leaf than before, and so many
// roots.
func renewed(t *testing.T, proxies []*profiled, before []string, roots int) bool {
	t.Helper()
	for i, p := range proxies {
		s, err := p.status()
		if err != nil || s.Identity == nil {
			t.Fatal(s, err)
		}
		if s.Identity.LeafSerial == before[i] || len(s.Identity.Roots) != roots {
			return false
		}
	}
	return true
}
