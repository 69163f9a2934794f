package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// keyTree are the keys of a block, each with those of the block below it or nil.
type keyTree map[string]keyTree

func (k keys[T]) names() keyTree {
	n := keyTree{}
	for name, s := range k {
		n[name] = nil
		if s.block != nil {
			n[name] = s.block.names()
		}
	}
	return n
}

func (n keyTree) with(more keyTree) keyTree {
	all := maps.Clone(n)
	maps.Copy(all, more)
	return all
}

// The keys of opaque settings: a proxy's, an upstream's, and those of the
// upstreams that Consul 1.2 keeps among the settings of their proxy.
var (
	proxyNames          = publicKeys.names().with(budgetKeys.names()).with(telemetryNames)
	upstreamNames       = dialKeys.names()
	opaqueUpstreamNames = upstreamKeys.names().with(keyTree{
		"destination_datacenter": nil, "destination_peer": nil, "config": nil,
	})
)

// elsewhere are keys that mean something to Consul, to Envoy or to proxies of
// old, and nothing here. Nobody mistyped them.
var elsewhere = func() map[string]bool {
	known := map[string]bool{}
	for _, name := range strings.Fields(`
		protocol upstreams tcp_check_address disable_tcp_check
		balance_inbound_connections balance_outbound_connections xds_fetch_timeout_ms
		envoy_dns_discovery_type
		envoy_gateway_bind_addresses envoy_gateway_bind_tagged_addresses envoy_gateway_no_default_bind
		envoy_gateway_remote_tcp_enable_keepalive envoy_gateway_remote_tcp_keepalive_interval
		envoy_gateway_remote_tcp_keepalive_probes envoy_gateway_remote_tcp_keepalive_time
		envoy_ready_bind_address envoy_ready_bind_port`) {
		known[name] = true
	}
	for name := range unhonoured {
		known[name] = true
	}
	return known
}()

// mostStrange is how many unknown keys are named.
const mostStrange = 16

// unknown warns of keys that nobody knows, which are mistyped more often than
// not. Keys of misplaced are known, but not in this place.
func (r *registration) unknown(field string, o object, known, misplaced keyTree) {
	for _, key := range slices.Sorted(maps.Keys(o)) {
		name := snake(key)
		below, ok := known[name]
		switch {
		case ok && below != nil:
			if nested, err := (value{raw: o[key], agent: true}).block(); err == nil {
				r.unknown(field+name+".", nested, below, nil)
			}
			continue
		case ok, elsewhere[name]:
			continue
		}
		if r.strange++; r.strange > mostStrange {
			return
		}
		shown := excerpt(field + key)
		near := nearest(name, known)
		_, there := misplaced[name]
		switch {
		case there && strings.Contains(field, "upstreams["):
			r.warn("%s is ignored: it is a setting of the proxy, not of one of its upstreams", shown)
		case there:
			r.warn("%s is ignored: it is a setting of an upstream, and belongs in the config of one", shown)
		case near != "":
			r.warn("%s is ignored, since nobody knows this key: did you mean %s?", shown, near)
		case strings.HasPrefix(name, "envoy_"): // a newer version's, perhaps
		default:
			r.warn("%s is ignored, since nobody knows this key", shown)
		}
	}
}

// nearest is the key that name was probably meant for, or empty.
func nearest(name string, known keyTree) (near string) {
	if len(name) > 2*excerptLength {
		return ""
	}
	most := max(2, len(name)/3)
	for _, candidate := range slices.Concat(slices.Sorted(maps.Keys(known)), slices.Sorted(maps.Keys(elsewhere))) {
		if d := levenshtein.Distance(name, candidate, nil); d <= most {
			near, most = candidate, d-1
		}
	}
	return near
}
