package cli

import (
	"testing"

	"connect-proxy/config"
)

func TestADatacenterIsForTheUpstreamsThatNameNone(t *testing.T) {
	given := &config.Config{Upstreams: []config.Upstream{
		{Destination: config.Destination{Name: "db"}},
		{Destination: config.Destination{Name: "cache", Datacenter: "dc3"}},
	}}
	for datacenter, want := range map[string][2]string{"dc2": {"dc2", "dc3"}, "": {"", "dc3"}} {
		c, err := inDatacenter{&config.Static{Config: given}, datacenter}.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]string{c.Upstreams[0].Destination.Datacenter, c.Upstreams[1].Destination.Datacenter}; got != want {
			t.Errorf("-datacenter %q gives %q, want %q", datacenter, got, want)
		}
	}
	if given.Upstreams[0].Destination.Datacenter != "" {
		t.Error("the source's own configuration was altered")
	}
}
