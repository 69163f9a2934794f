package systemtest_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
)

// web is an application that answers with its name, and returns its port.
func web(t *testing.T, name string) int {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).Port
}

// A registration alone opens the port: the services are named by the
// application, and found, dialled and judged as an upstream's are.
func TestServicesAreReachedByNameThroughARegisteredProxy(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	agenttest.Program(t, "curl")
	a := agenttest.Modern(t, agenttest.Options{})
	orders, mail := web(t, "orders"), web(t, "mail")
	port := agenttest.FreePorts(t, 4)
	sidecar{name: "Orders-API", app: orders, port: port}.start(t, a)
	sidecar{name: "mail", app: mail, port: port + 1}.start(t, a)
	caller := sidecar{name: "web", app: 1, port: port + 2, config: map[string]any{
		"by_name": map[string]any{"bind_port": port + 3, "allow": []string{"orders-*", "mail", "nobody"}},
	}}
	proxy := caller.start(t, a)
	a.WaitConnect("Orders-API", 1)
	a.WaitConnect("mail", 1)

	ask := func(name string, how ...string) (string, time.Duration) {
		began := time.Now()
		args := append([]string{"-sS", "--max-time", "10"}, how...)
		out, _ := exec.CommandContext(t.Context(), "curl", append(args, "http://"+name+"/")...).CombinedOutput()
		return string(out), time.Since(began)
	}
	for _, how := range [][]string{{"--socks5-hostname", at(port + 3)}, {"-x", at(port + 3), "--proxytunnel"}} {
		for name, want := range map[string]string{"orders-api": "orders", "Orders-API.service.consul": "orders", "mail.virtual.consul": "mail"} {
			agenttest.Eventually(t, soon, func() error {
				if got, _ := ask(name, how...); !strings.HasPrefix(got, want) {
					return fmt.Errorf("%s by %q: %q", name, how, got)
				}
				return nil
			})
		}
	}
	if got, took := ask("nobody", "-x", at(port+3)); !strings.Contains(got, "there is no such service") || took > 5*time.Second {
		t.Errorf("a name that nobody has: %q after %s", got, took)
	}
	if got, _ := ask("secret", "-x", at(port+3)); !strings.Contains(got, "by_name does not allow secret") {
		t.Errorf("what is not allowed: %q", got)
	}

	a.Intention("web", "mail", "deny")
	agenttest.Eventually(t, soon, func() error {
		if got, _ := ask("mail", "-x", at(port+3)); !strings.Contains(got, inRefusal("upstream_denied")) {
			return fmt.Errorf("a denial is heard as %q", got)
		}
		return nil
	})

	a.Stop()
	if got, _ := ask("orders-api", "--socks5-hostname", at(port+3)); !strings.HasPrefix(got, "orders") {
		t.Errorf("without the agent: %q", got)
	}
	proxy.WaitOutput(soon, "upstream=mail")
}
