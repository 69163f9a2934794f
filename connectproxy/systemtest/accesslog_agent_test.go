package systemtest_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
)

// accessRecord is what the test's format writes.
type accessRecord struct{ Cluster, Sent, Reason, Caller, Intention string }

// accessRecords reads a file of them.
func accessRecords(path string) ([]accessRecord, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []accessRecord
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		var r accessRecord
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		all = append(all, r)
	}
	return all, nil
}

func TestOnARealAgentTheAccessLogsOfProxyDefaultsAreWrittenAndRotated(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	port := agenttest.FreePorts(t, 3)
	path := filepath.Join(t.TempDir(), "access.log")
	configure(t, a, &api.ProxyConfigEntry{Kind: api.ProxyDefaults, Name: api.ProxyConfigGlobal, AccessLogs: &api.AccessLogsConfig{
		Enabled: true, Type: api.FileLogSinkType, Path: path,
		JSONFormat: `{"cluster": "%UPSTREAM_CLUSTER%", "sent": "%BYTES_SENT%", "reason": "%CONNECT_REASON%", "caller": "%CONNECT_PEER_SERVICE%", "intention": "%CONNECT_INTENTION%"}`,
	}})
	db := sidecar{name: "db", app: portOf(app(t, "db")), port: port}.start(t, a)
	web := sidecar{name: "web", app: 1, port: port + 1, upstreams: []api.Upstream{up("db", port+2)}}.start(t, a)
	a.WaitConnect("db", 1)
	reaches(t, at(port+2), "db")

	expect := func() {
		t.Helper()
		// With a connection each time: each proxy takes a signal when it comes to it.
		agenttest.Eventually(t, soon, func() error {
			if err := answeredBy(at(port+2), "db"); err != nil {
				return err
			}
			all, err := accessRecords(path)
			if err != nil {
				return err
			}
			inbound, outbound := false, false
			for _, r := range all {
				served := r.Reason == "closed" && r.Sent != "0"
				inbound = inbound || served && r.Cluster == "local_app" && r.Caller == "web" && r.Intention != "-"
				outbound = outbound || served && r.Cluster == "db" && r.Caller == "db" && r.Intention == "-"
			}
			if !inbound || !outbound {
				return fmt.Errorf("not both sides' records among %+v", all)
			}
			return nil
		})
	}
	expect()

	// Both proxies write to the file, as its path says.
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*proxyProcess{db, web} {
		p.Signal(syscall.SIGHUP)
	}
	expect()
}
