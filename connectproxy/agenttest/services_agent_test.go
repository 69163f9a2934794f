package agenttest_test

import (
	"net/http"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"

	"connect-proxy/connectproxy/agenttest"
)

func TestAManagedServiceIsRegisteredAsItWasWritten(t *testing.T) {
	agenttest.SkipShort(t)
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	a := agenttest.Managed(t, agenttest.Options{ACL: true, HCL: []string{
		agenttest.ProxyDefaults([]string{sleep, "3600"}, map[string]any{"handshake_timeout_ms": 2500}),
	}})
	a.SetConfig("02-web", agenttest.ManagedService{
		Name: "Web", ID: "web-1", Port: 8080, Tags: []string{"v1"},
		Token:  a.PutToken(`service "Web" { policy = "write" } service "Web-proxy" { policy = "write" }`),
		Config: map[string]any{"bind_port": a.ProxyPort + 5},
		Upstreams: []agenttest.ManagedUpstream{
			{Name: "db", BindPort: 9191, Config: map[string]any{"connect_timeout_ms": 1500}},
			{Type: "prepared_query", Name: "near", BindHost: "127.0.0.2", BindPort: 9192},
		},
	}.Text())
	a.ProxyPid("web-1-proxy")
	var got struct {
		TargetServiceName string
		Command           []string
		Config            map[string]any
		Upstreams         []struct {
			DestinationType, DestinationName, LocalBindAddress string
			LocalBindPort                                      int
			Config                                             map[string]any
		}
	}
	a.Do(http.MethodGet, "/v1/agent/connect/proxy/web-1-proxy", nil, &got)
	want := got
	want.TargetServiceName = "Web"
	want.Command = []string{sleep, "3600"}
	want.Config = map[string]any{
		"bind_address":          "127.0.0.1",
		"bind_port":             float64(a.ProxyPort + 5),
		"handshake_timeout_ms":  2500.,
		"local_service_address": "127.0.0.1:8080",
	}
	want.Upstreams = append(want.Upstreams[:0:0], want.Upstreams...)
	if len(want.Upstreams) != 2 {
		t.Fatalf("upstreams %+v", got.Upstreams)
	}
	one, two := &want.Upstreams[0], &want.Upstreams[1]
	one.DestinationType, one.DestinationName, one.LocalBindPort = "service", "db", 9191
	one.Config = map[string]any{"connect_timeout_ms": 1500.}
	two.DestinationType, two.DestinationName, two.LocalBindAddress, two.LocalBindPort = "prepared_query", "near", "127.0.0.2", 9192
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("written (-), registered (+):\n%s", diff)
	}
}
