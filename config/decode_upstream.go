package config

import (
	"strings"
)

// allUpstreams reads a list of upstreams, whose name begins with field.
// meshGateway is the proxy's own mode, for those that have none.
func (r *registration) allUpstreams(field string, objects []object, meshGateway string) {
	for i, o := range objects {
		r.upstream(field+upstreamField(i), fold(o), meshGateway)
	}
}

func (r *registration) upstream(field string, o object, meshGateway string) {
	name := value{raw: o["destination_name"]}
	if !r.wanted(field, name.String(), o) {
		return
	}
	u := Upstream{MeshGateway: meshGateway}
	if config := (value{raw: o["config"], agent: true}); !config.unset() {
		opaque, err := config.block()
		if err != nil {
			r.addMistake(field+".config", config.String(), err.Error())
		}
		apply(r, &u, dialKeys, field+".config.", opaque)
		r.unknown(field+".config.", opaque, upstreamNames, proxyNames)
		r.warnOfUnhonoured(field+".config.", "upstream "+name.String()+": ", opaque)
	}
	if dc, ok := o["destination_datacenter"]; ok { // Consul 1.2
		o["datacenter"] = dc
	}
	// All keys: Consul 1.2 has connect_timeout_ms beside the destination.
	apply(r, &u, upstreamKeys, field+".", o)
	r.cfg.Upstreams = append(r.cfg.Upstreams, u)
	r.upstreams = append(r.upstreams, field)
}

// wanted tells upstreams from what else agents keep in their list: defaults
// that were merged in from central configuration and have no address here.
func (r *registration) wanted(field, name string, o object) bool {
	if o["centrally_configured"] == true || o["destination_name"] == "*" {
		return false
	}
	if peer := (value{raw: o["destination_peer"], agent: true}); !peer.unset() {
		r.addMistake(field+".destination_peer", peer.String(),
			"destinations in a cluster peering are not supported, since agents hand their certificates to Envoy alone: remove this upstream")
		return false
	}
	port := value{raw: o["local_bind_port"], agent: true}
	path := value{raw: o["local_bind_socket_path"], agent: true}
	if n, err := port.count(); path.unset() && (port.unset() || err == nil && n == 0) {
		r.warn("upstream %s has neither a local port nor a socket path: nothing listens for it", name)
		return false
	}
	return true
}

// validate adds the mistakes of Validate under the names that a registration
// has for the settings. Those that did not even decode have been complained of
// already.
func (r *registration) validate(cfg Config) {
	broken := map[string]bool{}
	for _, m := range r.mistakes {
		broken[m.Field] = true
	}
	names := append(r.names, localField, r.service+"local_service_address", "public_listener.", r.opaque)
	for i, name := range r.upstreams {
		names = append(names, upstreamField(i), name)
	}
	rename := strings.NewReplacer(names...)
	for _, m := range cfg.Validate() {
		top, _, _ := strings.Cut(m.Field, ".")
		switch _, budget := budgetKeys[top]; {
		case budget:
			m.Field = r.opaque + m.Field
		case m.Field == "service_name":
			m.Field = r.service + "destination_service_name"
		}
		m.Field, m.Problem = rename.Replace(m.Field), rename.Replace(m.Problem)
		if !broken[m.Field] {
			r.mistakes = append(r.mistakes, m)
		}
	}
}
