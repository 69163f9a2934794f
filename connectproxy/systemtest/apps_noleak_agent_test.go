package systemtest_test

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/listener/listenertest"
)

// guest is a client that comes, does something and goes.
type guest func(c *net.TCPConn)

// TestTenThousandConnectionsLeaveNothingInEitherProxy opens and closes
// connections in every way that a peer can, a quarter of them with the race
// detector.
func TestTenThousandConnectionsLeaveNothingInEitherProxy(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	app := listenertest.NewServer(t, func(c *net.TCPConn) { answerAndReset(c) })
	port := agenttest.FreePorts(t, 3)
	a.Intention("stranger", "db", "deny")
	db := sidecar{name: "db", app: portOf(app), port: port}.startProfiled(t, a, "-log-level", "info")
	web := sidecar{name: "web", app: 1, port: port + 1, upstreams: []api.Upstream{up("db", port+2)}}.startProfiled(t, a, "-log-level", "info")
	agenttest.Eventually(t, soon, func() error { return knows(web.proxyProcess, "db") })

	ca := listenertest.NewCA(t)
	foreign := ca.ClientTLS(ca.Leaf(t, "web"))
	foreign.VerifyConnection = nil
	denied, allowed := credentials(t, a, "stranger"), credentials(t, a, "web")
	denied.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	wait := func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }
	say := func(text string) guest { return func(c *net.TCPConn) { _, _ = io.WriteString(c, text) } }
	over := func(config *tls.Config, text string) guest {
		return func(c *net.TCPConn) {
			tc := tls.Client(c, config)
			_, _ = io.WriteString(tc, text)
			_ = tc.CloseWrite()
			_, _ = io.Copy(io.Discard, tc)
		}
	}
	kinds := map[int]map[string]guest{
		port + 2: { // the upstream's listener: the application side
			"clean":                  func(c *net.TCPConn) { say("echo")(c); _ = c.CloseWrite(); wait(c) },
			"half-closed at once":    func(c *net.TCPConn) { _ = c.CloseWrite(); wait(c) },
			"gone before the answer": say("echo, if you like"),
			"reset":                  func(c *net.TCPConn) { say("echo")(c); _ = c.SetLinger(0) },
			"silent":                 func(*net.TCPConn) {},
			"reset by the app":       func(c *net.TCPConn) { say("!")(c); wait(c) },
			"half-closed, reset":     func(c *net.TCPConn) { say("echo")(c); _ = c.CloseWrite(); _ = c.SetLinger(0) },
		},
		port: { // the public listener: strangers, and one who is not
			"silent":       func(*net.TCPConn) {},
			"silent reset": func(c *net.TCPConn) { _ = c.SetLinger(0) },
			"garbage":      say("GET / HTTP/1.1\r\nHost: nobody\r\n\r\n"),
			"TLS begun":    say("\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03"),
			"foreign":      over(foreign, "echo"),
			"denied":       over(denied, "echo"),
			"served":       over(allowed, "echo"),
		},
	}
	each := 10_000/14 + 1
	if slow() {
		each /= 4
	}
	receive(t, kinds, each/10+1) // fills what is kept, such as pools and sessions
	before := []use{db.settled(), web.settled()}
	receive(t, kinds, each)
	for i, p := range []*profiled{db, web} {
		after := p.returns(before[i])
		t.Logf("before %+v, after %+v", before[i], after)
		if grown := after.heap - before[i].heap; grown > 2<<20 {
			t.Errorf("the heap has grown by %d bytes", grown)
		}
		// The race detector keeps a memory of its own for what has been.
		if !slow() && after.resident > 2*before[i].resident+32<<20 {
			t.Errorf("resident memory has grown from %d to %d bytes", before[i].resident, after.resident)
		}
	}
}

// receive has so many of each kind come, one after the other, and all kinds at
// once.
func receive(t *testing.T, kinds map[int]map[string]guest, each int) {
	t.Helper()
	var all sync.WaitGroup
	for port, guests := range kinds {
		for name, visit := range guests {
			all.Go(func() {
				for range each {
					c, err := net.Dial("tcp", at(port))
					if err != nil {
						t.Errorf("%s: %v", name, err)
						return
					}
					_ = c.SetDeadline(time.Now().Add(exchange))
					visit(c.(*net.TCPConn))
					c.Close()
				}
			})
		}
	}
	all.Wait()
}

// answerAndReset sends back what comes, and resets a client that shouts.
func answerAndReset(c *net.TCPConn) {
	buf := make([]byte, 1000)
	for {
		n, err := c.Read(buf)
		if n > 0 && buf[0] == '!' {
			_ = c.SetLinger(0)
			return
		}
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}
