package systemtest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
)

func TestAnOccupiedPortIsNamedAndTakenOnceItIsFree(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	port := agenttest.FreePorts(t, 2)
	var held []net.Listener
	for i := range 2 {
		ln, err := net.Listen("tcp", at(port+i))
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		held = append(held, ln)
	}
	db := sidecar{name: "db", app: portOf(app(t, "db")), port: port, upstreams: []api.Upstream{up("db", port+1)}}
	db.register(a)
	p := runProxy(t, a, "-sidecar-for", "db")
	for i, ln := range held {
		p.unready(fmt.Sprintf(":%d: bind: address already in use", port+i))
		ln.Close()
	}
	p.ready()
	reaches(t, at(port+1), "db")
}

// TestAcceptingResumesOnceDescriptorsAreFree takes the descriptors from one of
// two proxies and then from the other: the public listener's, and that of an
// upstream.
func TestAcceptingResumesOnceDescriptorsAreFree(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	port := agenttest.FreePorts(t, 3)
	inbound := sidecar{name: "db", app: portOf(app(t, "db")), port: port}.startProfiled(t, a)
	outbound := sidecar{name: "web", app: 1, port: port + 1, upstreams: []api.Upstream{up("db", port+2)}}.startProfiled(t, a)
	reaches(t, at(port+2), "db")
	for name, p := range map[string]*profiled{"public": inbound, "upstream": outbound} {
		t.Run(name, func(t *testing.T) {
			// Asked on a connection of before, since no other is accepted now.
			asked := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}, Timeout: exchange}
			defer asked.CloseIdleConnections()
			says := func(want string) {
				t.Helper()
				agenttest.Eventually(t, soon, func() error { return saysReady(asked, p.admin, want) })
			}
			says("true []")
			var served []*client
			for range 20 {
				c := dial(t, at(port+2))
				c.wants("db")
				served = append(served, c)
			}
			restore := p.exhaust(t)
			defer restore()
			// What is left below the limit goes to these.
			var late []net.Conn
			agenttest.Eventually(t, soon, func() error {
				if c, err := net.Dial("tcp", at(port+2)); err == nil {
					late = append(late, c)
				}
				return saysReady(asked, p.admin, "too many open files")
			})
			for _, c := range served { // which live on
				c.wants("db")
			}
			for _, c := range served {
				late = append(late, c)
			}
			for _, c := range late {
				c.Close()
			}
			says("true []")
			reaches(t, at(port+2), "db")
			p.WaitOutput(soon, "accepting connections again")
			if !p.Running() {
				t.Error("the proxy has ended")
			}
		})
	}
}

// saysReady is nil if /ready answers with text in it.
func saysReady(c *http.Client, admin, want string) error {
	resp, err := c.Get("http://" + admin + "/ready")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	// To the end, or the connection is not used again.
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var r readiness
	if err := json.Unmarshal(text, &r); err != nil {
		return err
	}
	if got := fmt.Sprint(r.Ready, " ", r.Reasons); !strings.Contains(got, want) {
		return errors.New("it says " + got)
	}
	return nil
}
