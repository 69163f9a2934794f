package identity

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/listener/listenertest"
)

// entry is the list of the mesh's one as an agent answers it.
func entry(direction string, bounds map[string]any) []any {
	return []any{map[string]any{"Kind": "mesh", "TLS": map[string]any{direction: bounds}}}
}

// answered has a client of TLS up to version max try a server of web's, and
// returns whether it was taken, and the suite.
func answered(t *testing.T, agent *fakeagent.Agent, web *Identity, config *tls.Config) (bool, uint16) {
	t.Helper()
	here := serve(t, "web", web.Handshake(ServerTLS{}))
	config.Certificates = []tls.Certificate{agent.Certificate("api")}
	config.InsecureSkipVerify = true
	conn, err := tls.Dial("tcp", here.ep.Address, config)
	if err != nil {
		return false, 0
	}
	defer conn.Close()
	return true, conn.ConnectionState().CipherSuite
}

func TestTheMeshsBoundsOfTLSHoldForIncomingConnections(t *testing.T) {
	const wanted, other = tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
	for _, c := range []struct {
		name   string
		bounds map[string]any
		client *tls.Config
		taken  bool
		suite  uint16
	}{
		{"nothing said", map[string]any{}, &tls.Config{MaxVersion: tls.VersionTLS12}, true, other},
		{"at least what is spoken anyway", map[string]any{"TLSMinVersion": "TLSv1_0"}, &tls.Config{MaxVersion: tls.VersionTLS12}, true, other},
		{"never below what is spoken", map[string]any{"TLSMinVersion": "TLSv1_0"}, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false, 0},
		{"at least 1.3, to a client of 1.2", map[string]any{"TLSMinVersion": "TLSv1_3"}, &tls.Config{MaxVersion: tls.VersionTLS12}, false, 0},
		{"at least 1.3, to one of 1.3", map[string]any{"TLSMinVersion": "TLSv1_3"}, &tls.Config{}, true, 0},
		{"at most 1.2, to one of 1.3 only", map[string]any{"TLSMaxVersion": "TLSv1_2"}, &tls.Config{MinVersion: tls.VersionTLS13}, false, 0},
		{"at most 1.2", map[string]any{"TLSMaxVersion": "TLSv1_2"}, &tls.Config{}, true, other},
		{"at most what is not spoken", map[string]any{"TLSMaxVersion": "TLSv1_1"}, &tls.Config{MinVersion: tls.VersionTLS10}, false, 0},
		{"one suite", map[string]any{"CipherSuites": []string{"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"}}, &tls.Config{MaxVersion: tls.VersionTLS12}, true, wanted},
		{"another suite than the client's", map[string]any{"CipherSuites": []string{"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"}}, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{other}}, false, 0},
		{"no suite that is known", map[string]any{"CipherSuites": []string{"TLS_SECRET"}}, &tls.Config{MaxVersion: tls.VersionTLS12}, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			agent := fakeagent.New(t, fakeagent.Options{})
			agent.Answer("/v1/config/mesh", entry("Incoming", c.bounds))
			web := ready(t, running(t, Options{Client: agent.Client(""), Service: "web"}))
			taken, suite := answered(t, agent, web, c.client)
			if taken != c.taken || c.suite != 0 && suite != c.suite {
				t.Errorf("taken %t by %s, want %t by %s", taken, tls.CipherSuiteName(suite), c.taken, tls.CipherSuiteName(c.suite))
			}
		})
	}
}

func TestTheMeshsBoundsOfTLSHoldForOutgoingConnectionsAndMayChange(t *testing.T) {
	agent := fakeagent.New(t, fakeagent.Options{})
	web := ready(t, running(t, Options{Client: agent.Client(""), Service: "web"}))
	there := serve(t, "api", ready(t, running(t, Options{Client: agent.Client(""), Service: "api"})).Handshake(ServerTLS{}))
	version := func() uint16 {
		conn, err := web.Dial(t.Context(), there.ep)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.(interface{ ConnectionState() tls.ConnectionState }).ConnectionState().Version
	}
	if v := version(); v != tls.VersionTLS13 {
		t.Fatalf("dialled with %s", tls.VersionName(v))
	}
	number := web.Status().Generation
	agent.Answer("/v1/config/mesh", entry("Outgoing", map[string]any{"TLSMaxVersion": "TLSv1_2"}))
	web.mesh.Refresh()
	listenertest.Eventually(t, "the entry is in force", func() bool { return web.Status().Generation > number })
	if v := version(); v != tls.VersionTLS12 {
		t.Errorf("dialled with %s where at most TLS 1.2 is allowed", tls.VersionName(v))
	}
	// An entry that is not understood leaves the last one in force.
	agent.Answer("/v1/config/mesh", entry("Outgoing", map[string]any{"TLSMaxVersion": "TLSv9"}))
	web.mesh.Refresh()
	listenertest.Eventually(t, "the entry is refused", func() bool { return web.mesh.Status().Err != nil })
	if v := version(); v != tls.VersionTLS12 {
		t.Errorf("dialled with %s after an entry that is not understood", tls.VersionName(v))
	}
}

func TestWhatOfTheMeshsBoundsCannotBeDoneIsSaid(t *testing.T) {
	for _, c := range []struct {
		bounds api.MeshDirectionalTLSConfig
		want   []string
	}{
		{api.MeshDirectionalTLSConfig{TLSMinVersion: "TLSv1_2", TLSMaxVersion: "TLSv1_3"}, nil},
		{api.MeshDirectionalTLSConfig{TLSMaxVersion: "TLSv1_1"}, []string{"not spoken"}},
		{api.MeshDirectionalTLSConfig{TLSMinVersion: "TLSv1_3", TLSMaxVersion: "TLSv1_2"}, []string{"older than the oldest"}},
		{api.MeshDirectionalTLSConfig{CipherSuites: []string{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_X"}}, []string{"TLS_X"}},
		{api.MeshDirectionalTLSConfig{CipherSuites: []string{"TLS_X"}}, []string{"TLS_X", "TLS 1.2 is not spoken"}},
	} {
		b, err := boundsOf(&c.bounds)
		if err != nil {
			t.Fatal(err)
		}
		got := b.problems()
		fits := len(got) == len(c.want)
		for i := range min(len(got), len(c.want)) {
			fits = fits && strings.Contains(got[i], c.want[i])
		}
		if !fits || b.String() == "" {
			t.Errorf("%+v (%s): %q, want %q", c.bounds, b, got, c.want)
		}
	}
	if _, err := boundsOf(&api.MeshDirectionalTLSConfig{TLSMinVersion: "TLSv9"}); err == nil {
		t.Error("a version that does not exist was taken")
	}
	if names := (tlsBounds{suites: "TLS_RSA_WITH_AES_128_CBC_SHA TLS_X"}).unknown(); !slices.Equal(names, []string{"TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_X"}) {
		t.Errorf("unknown suites: %q", names) // Go keeps the first for those who ask for what is insecure
	}
}
