//go:build linux

package peer

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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
		"envoy.yaml": {
			{"address: 127.0.0.1, port_value: 7002", "require_client_certificate: true", "filename: server.pem", "address: 127.0.0.1, port_value: 9000", "max_connections: 1050"},
			{"address: 127.0.0.1, port_value: 7001", "sni: " + serverName, "filename: client.pem", "exact: " + serverName, "address: 127.0.0.1, port_value: 7002"},
		},
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
	for _, k := range slices.Concat(Kinds(), Choices()) {
		if k.program == nil && k.Name != "ghostunnel" && k.Name != "bare Go TLS" {
			continue // those have files
		}
		c, err := k.commandsAt(t.Context(), l, s)
		server, client := strings.Join(c[0], " "), strings.Join(c[1], " ")
		if err != nil || !strings.Contains(server, "server") || !strings.Contains(client, "client") || strings.Contains(server, "7001") {
			t.Errorf("%s: %v\n%s\n%s", k.Name, err, server, client)
		}
	}
	if got := withLimit("77", []string{"a", "b"}); !slices.Equal(got[3:], []string{"77", "a", "b"}) {
		t.Errorf("%v", got)
	}
}

func TestAVariantIsOursOfAnotherBuildOrWithOtherArguments(t *testing.T) {
	l := &Lab{Dir: "dir"}
	for text, want := range map[string]string{
		"plain=":                          "dir/connect-proxy",
		"quiet=-log-level off":            "dir/connect-proxy -log-level off",
		"old=@HEAD~1":                     "dir/variant-old",
		"old=@v1 -log-json":               "dir/variant-old -log-json",
		"shell=/bin/sh":                   "/bin/sh",
		"gogc=/bin/sh GOGC=50 sh -x":      "/bin/sh GOGC=50 sh -x",
		"file=-config-file=a=b -log-json": "dir/connect-proxy -config-file=a=b -log-json",
	} {
		k, err := Variant(text)
		if err != nil || !k.Variant || !k.Agent {
			t.Errorf("%q: %+v, %v", text, k, err)
			continue
		}
		if got := strings.Join(k.sidecar(l, "agent", "web"), " "); got != want+" -http-addr agent -sidecar-for web" {
			t.Errorf("%q: %s", text, got)
		}
	}
	for _, text := range []string{"", "old", "=/bin/sh", "O D=/bin/sh", "old=@v1 more", "old=/nowhere/at/all", "connect proxy="} {
		if k, err := Variant(text); err == nil {
			t.Errorf("%q: %+v", text, k)
		}
	}
}

func TestAnObservedPairIsAskedForItsMetricsUntilItIsNotMeasured(t *testing.T) {
	l, k := &Lab{Dir: t.TempDir()}, Observed()
	p := &Pair{Kind: k, lab: l}
	var asked atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	for i, command := range must(k.commandsAt(t.Context(), l, site{agent: "agent"})) {
		client, server := services(k.service)
		path := l.socket([]string{server, client}[i])
		if text := strings.Join(command, " "); !strings.HasSuffix(text, "-access-log all -admin-addr unix:"+path) {
			t.Errorf("it is started as %s", text)
		}
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
		go func() { _ = s.Serve(ln) }()
		defer s.Close()
	}
	stop := p.Observe(t.Context())
	for until := time.Now().Add(10 * time.Second); asked.Load() < 4 && time.Now().Before(until); {
		<-time.After(10 * time.Millisecond)
	}
	stop()
	if asked.Load() < 4 {
		t.Errorf("asked %d times", asked.Load())
	}
	p.Kind.Observed = false
	p.Observe(t.Context())()
}

// must is for what cannot fail.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
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

func TestTheAgentsMetricsAreAddedUp(t *testing.T) {
	const text = `# TYPE consul_api_http summary
consul_api_http{method="GET",path="v1_agent",quantile="0.5"} 12
consul_api_http_sum{method="GET",path="v1_agent"} 120
consul_api_http_count{method="GET",path="v1_agent"} 3
consul_api_http_count{method="GET",path="a b"} 40
consul_api_http_count 500
`
	if n, err := sumOf(strings.NewReader(text), "consul_api_http_count"); err != nil || n != 543 {
		t.Errorf("%v, %v", n, err)
	}
	if n, err := sumOf(strings.NewReader("a{} x\n"), "a"); err == nil {
		t.Errorf("%v", n)
	}
}
