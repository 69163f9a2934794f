package systemtest_test

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/listener/listenertest"
)

func TestTimeoutsAreHonouredAsNumbersAndAsStrings(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	outer := t // the proxy's, which outlives a subtest
	a := agenttest.Modern(t, agenttest.Options{})
	port := agenttest.FreePorts(t, 4)
	// An instance that accepts and says nothing, and an application that does
	// not even accept.
	sink := listenertest.NewSink(t)
	a.Register(&api.AgentServiceRegistration{
		Kind: api.ServiceKindConnectProxy, Name: "silent-proxy", Port: portOf(sink),
		Proxy: &api.AgentServiceConnectProxyConfig{DestinationServiceName: "silent"},
	})
	s := sidecar{name: "db", app: unresponsive(t), port: port}
	var p *proxyProcess
	for _, tc := range []struct {
		name                      string
		connect, handshake, local any
		want                      time.Duration
	}{
		{"numbers", 2000, 2000, 2000, 2 * time.Second},
		{"strings", "3000", "3000", "3000", 3 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.config = map[string]any{"handshake_timeout_ms": tc.handshake, "local_connect_timeout_ms": tc.local}
			silent, self := up("silent", port+1), up("db", port+2)
			silent.Config = map[string]any{"connect_timeout_ms": tc.connect}
			self.Config = map[string]any{"connect_timeout_ms": 30000}
			s.upstreams = []api.Upstream{silent, self}
			if p == nil {
				p = s.start(outer, a)
			} else {
				s.register(a)
			}
			p.WaitOutput(soon, "connect_timeout="+tc.want.String())
			a.WaitConnect("db", 1)
			agenttest.Eventually(t, soon, func() error { return knows(p, "silent", "db") })

			for setting, address := range map[string]string{
				"handshake_timeout_ms":     at(port),
				"connect_timeout_ms":       at(port + 1),
				"local_connect_timeout_ms": at(port + 2),
			} {
				t.Run(setting, func(t *testing.T) { t.Parallel(); endsAfter(t, address, tc.want) })
			}
		})
	}
}

// endsAfter expects connections to be ended after that time. A busy machine may be
// late with one or two.
func endsAfter(t *testing.T, address string, want time.Duration) {
	t.Helper()
	var took time.Duration
	for range 3 {
		start := time.Now()
		dial(t, address).ended(soon)
		took = time.Since(start)
		if took < want-50*time.Millisecond {
			break
		}
		if took <= want+want/10+500*time.Millisecond {
			return
		}
	}
	t.Errorf("%s took %s", want, took)
}

func TestEveryKindOfAddressWorks(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	dir := t.TempDir()
	appSocket, upSocket := filepath.Join(dir, "app.sock"), filepath.Join(dir, "up.sock")
	six := listenertest.HasIPv6(t)
	if !six {
		t.Log("the loopback has no IPv6, ::1: that part is left out")
	}
	serveUnix(t, appSocket, "socket")
	stale(t, upSocket)

	port := agenttest.FreePorts(t, 12)
	// nat advertises a port other than the one it binds: something in between
	// leads from one to the other.
	forward(t, port, at(port+1))
	servers := []sidecar{
		{name: "nat", port: port, config: map[string]any{"bind_address": "127.0.0.1", "bind_port": port + 1}},
		{name: "host", port: port + 2, address: "localhost"},
		{name: "empty", port: port + 3},
		{name: "socket", port: port + 4, socket: appSocket},
	}
	if six {
		servers = append(servers, sidecar{name: "six", port: port + 5, address: "::1", config: map[string]any{"bind_address": "::1"}})
	}
	web := sidecar{name: "web", app: 1, port: port + 6}
	for i, s := range servers {
		if s.socket == "" {
			s.app = portOf(app(t, s.name))
		}
		s.start(t, a)
		web.upstreams = append(web.upstreams, up(s.name, port+7+i))
	}
	if six {
		web.upstreams[4].LocalBindAddress = "::1"
	}
	web.upstreams[3] = api.Upstream{DestinationName: "socket", LocalBindSocketPath: upSocket, LocalBindSocketMode: "0600"}
	web.start(t, a)

	for i, s := range servers {
		a.WaitConnect(s.name, 1)
		switch s.name {
		case "socket":
			reaches(t, upSocket, "socket")
		case "six":
			reaches(t, fmt.Sprintf("[::1]:%d", port+7+i), "six")
		default:
			reaches(t, at(port+7+i), s.name)
		}
	}
}

func TestAPreparedQueryIsResolvedByNameAndByIDWithItsTags(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	port := agenttest.FreePorts(t, 6)
	for i, version := range []string{"v1", "v2"} {
		sidecar{name: "api", id: "api-" + version, app: portOf(app(t, version)), port: port + i, tags: []string{version}}.start(t, a)
	}
	byName := "only-v1"
	a.PutQuery(api.PreparedQueryDefinition{Name: byName, Service: api.ServiceQuery{Service: "api", Tags: []string{"v1"}}})
	byID := a.PutQuery(api.PreparedQueryDefinition{Name: "only-v2", Service: api.ServiceQuery{Service: "api", Tags: []string{"v2"}}})
	web := sidecar{name: "web", app: 1, port: port + 2, upstreams: []api.Upstream{
		{DestinationType: api.UpstreamDestTypePreparedQuery, DestinationName: byName, LocalBindPort: port + 3},
		{DestinationType: api.UpstreamDestTypePreparedQuery, DestinationName: byID, LocalBindPort: port + 4},
	}}
	web.start(t, a)
	a.WaitConnect("api", 2)
	for i, version := range []string{"v1", "v2"} {
		reaches(t, at(port+3+i), version)
		for range 8 {
			dial(t, at(port+3+i)).wants(version)
		}
	}
}

// knows returns an error unless the proxy has found instances of all these upstreams.
func knows(p *proxyProcess, names ...string) error {
	for _, name := range names {
		if len(p.Output.Matching("instances found: upstream="+name+" ")) == 0 {
			return fmt.Errorf("no instance of %s has been found", name)
		}
	}
	return nil
}

// serveUnix is an application on a unix socket.
func serveUnix(t *testing.T, path, name string) {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				answer(c, name)
			}()
		}
	}()
}

// stale leaves a socket's file behind, as a process does that is killed.
func stale(t *testing.T, path string) {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
}

// forward leads from a port to an address.
func forward(t *testing.T, port int, to string) {
	t.Helper()
	ln, err := net.Listen("tcp", at(port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				d, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer d.Close()
				go func() { _, _ = io.Copy(d, c); _ = d.(*net.TCPConn).CloseWrite() }()
				_, _ = io.Copy(c, d)
			}()
		}
	}()
}
