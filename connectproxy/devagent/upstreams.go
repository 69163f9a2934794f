package devagent

import (
	"fmt"

	"github.com/hashicorp/consul/api"
)

// withTypes fills in the type that an upstream has by default.
func withTypes(all []api.Upstream) []api.Upstream {
	full := append([]api.Upstream(nil), all...)
	for i := range full {
		setDefault(&full[i].DestinationType, api.UpstreamDestTypeService)
	}
	return full
}

// upstreamProblem says what is wrong with the upstreams of a proxy; empty is
// nothing.
func upstreamProblem(all []api.Upstream) string {
	bound := map[string]bool{}
	for _, u := range all {
		where := u.LocalBindSocketPath
		if where == "" {
			where = fmt.Sprintf("%s:%d", u.LocalBindAddress, u.LocalBindPort)
		}
		switch {
		case u.DestinationName == "":
			return "upstream destination name cannot be empty"
		case u.LocalBindPort == 0 && u.LocalBindSocketPath == "":
			return "upstream local bind port or local socket path must be defined and nonzero"
		case bound[where]:
			return fmt.Sprintf("upstreams cannot contain duplicates by local bind address and port or unix path; %q is specified twice", where)
		}
		bound[where] = true
	}
	return ""
}

// shownUpstreams are a proxy's upstreams as an agent shows them; before Consul
// 1.6 there were no gateways.
func shownUpstreams(all []api.Upstream, old bool) []map[string]any {
	shown := []map[string]any{}
	for _, u := range all {
		v := object(u)
		if old {
			delete(v, "MeshGateway")
		}
		shown = append(shown, v)
	}
	return shown
}

// catalogUpstreams are the same as the catalog has them.
func catalogUpstreams(all []api.Upstream, old bool) []map[string]any {
	shown := shownUpstreams(all, old)
	for i, u := range all {
		shown[i]["Datacenter"] = u.Datacenter
	}
	return shown
}
