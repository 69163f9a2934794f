//go:build unix

package cli

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
)

func TestUnderNomadTheDrainFitsTheKillTimeoutUnlessToldOtherwise(t *testing.T) {
	nomad := map[string]string{"NOMAD_ALLOC_ID": "2f1e"}
	for name, c := range map[string]struct {
		args []string
		env  map[string]string
		want time.Duration
	}{
		"by flags":             {[]string{"-service", "web", "-upstream", "db:8181"}, nomad, nomadDrain},
		"as the flag has it":   {[]string{"-service", "web", "-upstream", "db:8181", "-drain-timeout", "20s"}, nomad, 20 * time.Second},
		"elsewhere":            {[]string{"-service", "web", "-upstream", "db:8181"}, nil, 0},
		"left to the override": {[]string{"-sidecar-for", "web"}, nomad, 0},
	} {
		p, problems := newPlan(t.Context(), c.args, fakeEnv(c.env), io.Discard)
		if len(problems) > 0 || p.drain != c.want {
			t.Errorf("%s: drain %s, %q; want %s", name, p.drain, problems, c.want)
		}
	}
	for given, want := range map[time.Duration]time.Duration{0: nomadDrain, time.Minute: time.Minute} {
		cfg := config.Config{DrainTimeout: given}
		withinKillTimeout(&cfg)
		if cfg.DrainTimeout != want {
			t.Errorf("a registration of %s drains for %s, want %s", given, cfg.DrainTimeout, want)
		}
	}
}

func TestNomadsTokenIsTheLastResort(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	env := map[string]string{"NOMAD_SECRETS_DIR": dir}
	token := func() (string, string) { return (&agentFlags{}).tokens(fakeEnv(env)) }
	if value, path := token(); value != "" || path != "" {
		t.Errorf("%q, %q of an empty directory", value, path)
	}
	for _, name := range []string{"si_token", "consul_token"} { // the better one last
		if err := os.WriteFile(file(name), []byte("t"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, path := token(); path != file(name) {
			t.Errorf("with %s the token is of %q", name, path)
		}
	}
	// Nomad puts it into the environment too, from where it is never read again.
	env["CONSUL_HTTP_TOKEN"] = "t"
	if value, path := token(); value != "t" || path != file("consul_token") {
		t.Errorf("%q, %q of a token that Nomad has put into the environment too", value, path)
	}
	env["CONSUL_HTTP_TOKEN"] = "given"
	if value, path := token(); value != "given" || path != "" {
		t.Errorf("%q, %q though a token is given", value, path)
	}
}

func TestReadinessIsServedWhereNomadToldTheTaskToLookForEnvoys(t *testing.T) {
	var log bytes.Buffer
	logger := hclog.New(&hclog.LoggerOptions{Output: &log})
	got := nomadReady([]string{
		"NOMAD_ENVOY_READY_ADDR_web=127.0.0.1:19101", "NOMAD_ENVOY_ADMIN_ADDR_web=127.0.0.2:19001", "PATH=/bin", "NOMAD_ADDR_http=127.0.0.1:1",
		"NOMAD_ENVOY_READY_ADDR_web_2=127.0.0.1:19101", "NOMAD_ENVOY_READY_ADDR_bad=everywhere", "NOMAD_ENVOY_READY_ADDR_open=0.0.0.0:19102",
	}, "", logger)
	if want := []string{"127.0.0.2:19001", "127.0.0.1:19101"}; !slices.Equal(got, want) {
		t.Errorf("served on %q, want %q", got, want)
	}
	for _, name := range []string{"variable=NOMAD_ENVOY_READY_ADDR_bad address=everywhere", "variable=NOMAD_ENVOY_READY_ADDR_open"} {
		if !strings.Contains(log.String(), name) {
			t.Errorf("%q is not said: %s", name, &log)
		}
	}
	if got := nomadReady([]string{"NOMAD_ENVOY_ADMIN_ADDR_web=127.0.0.2:19001"}, "127.0.0.2:19001", logger); len(got) != 0 {
		t.Errorf("served on %q, where the admin pages are", got)
	}
}

// A job's tasks wait in a loop until they read LIVE.
func TestTasksOfANomadJobCanWaitForTheirSidecar(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address, port := taken.Addr().String(), agenttest.FreePort(t)
	launched := func(agent string) *agenttest.Process {
		return agenttest.StartProcess(t, agenttest.ProcessOptions{
			Path: self(t),
			Args: []string{"-service", "web", "-upstream", fmt.Sprintf("db:%d", port), "-http-addr", agent, "-admin-addr", "off"},
			Env:  []string{asProgram + "=1", "NOMAD_ALLOC_ID=2f1e", "NOMAD_ENVOY_READY_ADDR_web=" + address},
		})
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answers := func(page string, code int, text string) {
		t.Helper()
		agenttest.Eventually(t, soon, func() error {
			resp, err := client.Get("http://" + address + page)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err == nil && (resp.StatusCode != code || !strings.Contains(string(body), text)) {
				err = fmt.Errorf("%s answers %d %q, want %d %q", page, resp.StatusCode, body, code, text)
			}
			return err
		})
	}
	p := launched(startDevAgent(t))
	p.WaitOutput(soon, "cannot listen; the proxy goes on without: listener=ready")
	p.WaitOutput(soon, ": ready")
	taken.Close()
	answers("/ready", http.StatusOK, "LIVE\n")
	for _, page := range []string{"/", "/health", "/metrics", "/connections", "/debug/pprof/"} {
		answers(page, http.StatusNotFound, "")
	}
	p.Signal(os.Interrupt)
	p.Wait(anEnd)

	p = launched("127.0.0.1:1")
	answers("/ready", http.StatusServiceUnavailable, "INITIALIZING\n")
	hold(t, port)
	p.Signal(os.Interrupt)
	answers("/ready", http.StatusServiceUnavailable, "DRAINING\n")
}
