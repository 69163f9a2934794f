package identity

import (
	"net/url"
	"testing"

	"connect-proxy/upstream"
)

func TestAServiceIDIsWrittenAndReadAsTheAgentDoes(t *testing.T) {
	for _, c := range []struct {
		name    string
		id      upstream.Identity
		uri     string
		wantSNI string
	}{
		{"plain", upstream.Identity{Service: "web", Datacenter: "dc1"},
			"spiffe://mesh.consul/ns/default/dc/dc1/svc/web", "web.default.dc1.internal.mesh.consul"},
		{"mixed case stays", upstream.Identity{Service: "MixedCase", Datacenter: "dc1"},
			"spiffe://mesh.consul/ns/default/dc/dc1/svc/MixedCase", "MixedCase.default.dc1.internal.mesh.consul"},
		{"namespace", upstream.Identity{Service: "web", Namespace: "team", Datacenter: "dc2"},
			"spiffe://mesh.consul/ns/team/dc/dc2/svc/web", "web.team.dc2.internal.mesh.consul"},
		{"partition", upstream.Identity{Service: "web", Namespace: "team", Partition: "East", Datacenter: "dc2"},
			"spiffe://mesh.consul/ap/east/ns/team/dc/dc2/svc/web", "web.team.east.dc2.internal-v1.mesh.consul"},
		{"the default partition by name", upstream.Identity{Service: "web", Partition: "default", Datacenter: "dc1"},
			"spiffe://mesh.consul/ns/default/dc/dc1/svc/web", "web.default.dc1.internal.mesh.consul"},
		{"characters of URIs", upstream.Identity{Service: "a b", Datacenter: "dc1"},
			"spiffe://mesh.consul/ns/default/dc/dc1/svc/a%20b", "a b.default.dc1.internal.mesh.consul"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := expectedID(c.id, "Mesh.consul")
			if got := id.String(); got != c.uri {
				t.Errorf("URI %s, want %s", got, c.uri)
			}
			if got := id.sni(); got != c.wantSNI {
				t.Errorf("SNI %s, want %s", got, c.wantSNI)
			}
			u, err := url.Parse(c.uri)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := parseServiceURI(u); back != id || err != nil {
				t.Errorf("read back as %+v, %v", back, err)
			}
		})
	}
}
