package identity

import (
	"crypto/tls"
	"testing"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/listener/listenertest"
)

func TestOnRealAgentsTheMeshsConfigurationEntryIsHonoured(t *testing.T) {
	agenttest.SkipShort(t)
	t.Parallel()
	t.Run("an agent that knows no such entries", func(t *testing.T) {
		t.Parallel()
		agent := agenttest.Managed(t, agenttest.Options{})
		web := ready(t, running(t, Options{Client: agent.Client, Service: "web"}))
		if m, ok := web.mesh.Latest(); !ok || m != (meshTLS{}) {
			t.Errorf("%+v, %t, %v", m, ok, web.mesh.Status().Err)
		}
	})
	t.Run("one that does", func(t *testing.T) {
		t.Parallel()
		agent := agenttest.Modern(t, agenttest.Options{})
		web := ready(t, running(t, Options{Client: agent.Client, Service: "web"}))
		caller := ready(t, running(t, Options{Client: agent.Client, Service: "api"}))
		old := func() error {
			here := serve(t, "web", web.Handshake(ServerTLS{}))
			conn, err := tls.Dial("tcp", here.ep.Address, &tls.Config{
				Certificates: []tls.Certificate{caller.current.Load().leaf.cert}, InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12,
			})
			if err == nil {
				conn.Close()
			}
			return err
		}
		if err := old(); err != nil {
			t.Fatalf("before: %v", err)
		}
		bounds := &api.MeshDirectionalTLSConfig{TLSMinVersion: "TLSv1_3"}
		if _, _, err := agent.Client.ConfigEntries().Set(&api.MeshConfigEntry{TLS: &api.MeshTLSConfig{Incoming: bounds}}, nil); err != nil {
			t.Fatal(err)
		}
		listenertest.Within(t, 2*meshPace+patience, "a client of an old version is refused", func() bool { return old() != nil })
		if _, err := agent.Client.ConfigEntries().Delete(api.MeshConfig, api.MeshConfigMesh, nil); err != nil {
			t.Fatal(err)
		}
		listenertest.Within(t, 2*meshPace+patience, "a client of an old version is taken again", func() bool { return old() == nil })
	})
}
