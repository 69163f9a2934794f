//go:build linux

package peer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheGuardKillsWhatHasNotEnded(t *testing.T) {
	var killed []int
	Guard(strings.NewReader("+12\n+34\n\nrubbish\n-12\n+1\n+0\n+56\n-99\n"), func(pgid int) { killed = append(killed, pgid) })
	if slices.Sort(killed); !slices.Equal(killed, []int{34, 56}) {
		t.Errorf("%v", killed)
	}
}

func TestBothSidesProveThemselvesWithTheirFiles(t *testing.T) {
	c, err := issue(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(c.Authority)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		t.Fatal("the authority cannot be read")
	}
	for file, name := range map[string]string{c.Server: serverName, c.Client: clientName} {
		pair, err := tls.LoadX509KeyPair(file, file)
		if err != nil {
			t.Fatal(err)
		}
		o := x509.VerifyOptions{Roots: pool, DNSName: name, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		if _, err := pair.Leaf.Verify(o); err != nil || pair.Leaf.PublicKeyAlgorithm != x509.ECDSA {
			t.Errorf("%s: %v, %v", name, err, pair.Leaf.PublicKeyAlgorithm)
		}
	}
}

func TestTemplatesAreFilledInForBothSides(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	l := &Lab{Dir: t.TempDir(), Root: root, Connections: 500, app: "127.0.0.1:9000",
		certificates: certificates{Authority: "ca.pem", Server: "server.pem", Client: "client.pem"}}
	for name, want := range map[string][2][]string{
		"haproxy.cfg": {
			{"maxconn 500", "bind 127.0.0.1:7002 ssl crt server.pem", "verify required", "server app 127.0.0.1:9000"},
			{"bind 127.0.0.1:7001\n", "server peer 127.0.0.1:7002 ssl crt client.pem", "verifyhost " + serverName},
		},
		"nginx.conf": {
			{"load_module stream.so;", "listen 127.0.0.1:7002 ssl;", "ssl_verify_client on;", "worker_rlimit_nofile 1050;"},
			{"listen 127.0.0.1:7001;", "proxy_pass 127.0.0.1:7002;", "proxy_ssl_name " + serverName},
		},
		"stunnel.conf": {
			{"client = no", "accept = 127.0.0.1:7002", "connect = 127.0.0.1:9000", "verifyChain = yes"},
			{"client = yes", "accept = 127.0.0.1:7001", "cert = client.pem", "checkHost = " + serverName},
		},
	} {
		files, err := l.write(name, site{listen: 7001, between: 7002}, "stream.so")
		if err != nil {
			t.Fatal(err)
		}
		for side, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range want[side] {
				if !strings.Contains(string(text), line) {
					t.Errorf("%s: no %q in\n%s", filepath.Base(file), line, text)
				}
			}
			if strings.Contains(string(text), "<no value>") {
				t.Errorf("%s: %s", filepath.Base(file), text)
			}
		}
	}
}

func TestCommandsKeepTheServersSideFirst(t *testing.T) {
	l := &Lab{Dir: "dir", app: "127.0.0.1:9000", self: "bench", agent: &agent{binary: "consul"}}
	s := site{listen: 7001, between: 7002, agent: "127.0.0.1:8500"}
	for name, commands := range map[string]func(context.Context, *Lab, site) ([2][]string, error){
		Ours: oursCommands, Builtin: builtinCommands, "ghostunnel": ghostunnelCommands, "bare": bareCommands,
	} {
		c, err := commands(t.Context(), l, s)
		server, client := strings.Join(c[0], " "), strings.Join(c[1], " ")
		if err != nil || !strings.Contains(server, "server") || !strings.Contains(client, "client") || strings.Contains(server, "7001") {
			t.Errorf("%s: %v\n%s\n%s", name, err, server, client)
		}
	}
	if got := withLimit("77", []string{"a", "b"}); !slices.Equal(got[3:], []string{"77", "a", "b"}) {
		t.Errorf("%v", got)
	}
}

func TestFreePortsAreOutOfTheWayOfConnections(t *testing.T) {
	first, err := freePorts(3)
	if err != nil || first < 1024 || !allFree(first, 3) {
		t.Errorf("%d, %v", first, err)
	}
}

func TestConsulsVariablesDoNotReachTheProxies(t *testing.T) {
	got := childEnv([]string{"PATH=/bin", "CONSUL_HTTP_TOKEN=x", "CONNECT_PROXY_ID=y", "HOME=/"})
	if !slices.Equal(got, []string{"PATH=/bin", "HOME=/", childMark + "=1"}) {
		t.Errorf("%v", got)
	}
}

func TestAProcessOfABenchmarkBeginsNone(t *testing.T) {
	t.Setenv(childMark, "1")
	l, err := NewLab(t.Context(), 10, io.Discard)
	l.Close()
	if err == nil || l.Dir != "" {
		t.Errorf("%q, %v", l.Dir, err)
	}
}
