package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest/testca"
)

func TestValidateSaysAllThatAFileComesTo(t *testing.T) {
	local := config.Address{Host: "127.0.0.1", Port: 8081}
	for want, c := range map[string]config.Config{
		"service web, by_name on 127.0.0.1:1080, micro on 127.0.0.1:8081": {
			Service: "web", ByName: &config.ByName{Bind: config.Address{Host: "127.0.0.1", Port: 1080}}, Micro: &config.Micro{Bind: local},
		},
		"upstream 10.0.0.1:1 on 127.0.0.1:8081": {
			Upstreams: []config.Upstream{{Destination: config.Destination{Type: config.Addresses, Addresses: "10.0.0.1:1"}, Bind: local}},
		},
	} {
		if got := summary(&c); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestValidateSaysWhereMetricsWouldNotGo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.hcl")
	text := `service_name = "web"
envoy_statsd_url = "http://x"
envoy_stats_tags = ["a", "b=c", "=d"]
upstream {
  destination_name = "db"
  local_bind_port  = 9191
}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if code := runValidate(t.Context(), []string{file}, &stdout, &stderr); code != exitDrained {
		t.Fatalf("code %d: %s", code, &stderr)
	}
	for _, want := range []string{`warning: envoy_statsd_url "http://x": `, `warning: envoy_stats_tags "a": `, `warning: envoy_stats_tags "=d": `} {
		if strings.Count(stdout.String(), want) != 1 {
			t.Errorf("%q is not said once:\n%s", want, &stdout)
		}
	}
	if n := strings.Count(stdout.String(), "warning: "); n != 3 {
		t.Errorf("%d warnings, want 3:\n%s", n, &stdout)
	}
}

func TestValidateWarnsOfAnEdgeForEveryService(t *testing.T) {
	file := filepath.Join(t.TempDir(), "edge.hcl")
	const text = `service_name = "edge"
edge {
  hosts     = ["api.example.com"]
  allow     = ["*"]
  cert_file = "tls.pem"
}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code := runValidate(t.Context(), []string{file}, &stdout, &stderr)
	for _, want := range []string{`warning: edge.allow = "*": strangers may call every service`, "warning: edge: no certificate: tls.pem does not exist"} {
		if code != exitDrained || strings.Count(stdout.String(), want) != 1 {
			t.Errorf("code %d, %s: %s%s", code, want, &stdout, &stderr)
		}
	}
}

func TestValidateReadsTheFilesOfIdentities(t *testing.T) {
	ca := testca.New(t, "ours")
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	file := in("web.hcl")
	testca.WriteFile(t, file, fmt.Sprintf(`
identity "files" {
  cert_file = %q
  key_file  = %q
  ca_file   = %q
}
upstream {
  destination_addresses = ["127.0.0.1:1"]
  local_bind_port       = 9191
}
`, in("cert.pem"), in("key.pem"), in("ca.pem")))
	validated := func() (int, []string) {
		var stdout, stderr bytes.Buffer
		code := runValidate(t.Context(), []string{file}, &stdout, &stderr)
		return code, strings.Split(strings.TrimSpace(stderr.String()), "\n")
	}
	code, lines := validated()
	if code != exitUsage || len(lines) != 3 {
		t.Fatalf("code %d: %q", code, lines)
	}
	for i, name := range []string{"cert.pem", "key.pem", "ca.pem"} {
		if want := file + ": identity.files: " + in(name) + " does not exist"; !strings.Contains(lines[i], want) {
			t.Errorf("%q, want %q", lines[i], want)
		}
	}
	ca.Write(t, dir, ca.Issue(t, []string{"dns:web.example.org"}))
	if code, lines := validated(); code != exitDrained {
		t.Errorf("code %d: %q", code, lines)
	}
}
