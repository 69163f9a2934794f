package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
)

// kindProxy is a connect-proxy's kind in an agent's answers.
const kindProxy = "connect-proxy"

// managedAnswer is what GET /v1/agent/connect/proxy/:id says.
type managedAnswer struct {
	ProxyServiceID, TargetServiceID, TargetServiceName string

	Config    object
	Upstreams []object
}

// serviceAnswer is what GET /v1/agent/service/:id says.
type serviceAnswer struct {
	Kind, ID, Service              string
	Address, SocketPath            string
	Port                           int
	Namespace, Partition, PeerName string

	Proxy struct {
		DestinationServiceName, DestinationServiceID string
		LocalServiceAddress, LocalServiceSocketPath  string
		LocalServicePort                             int

		Mode        string
		MeshGateway struct{ Mode string }
		Expose      struct {
			Checks bool
			Paths  []json.RawMessage
		}
		EnvoyExtensions []struct {
			Name     string
			Required bool
		}

		AccessLogs object
		Config     object
		Upstreams  []object
	}
}

// registration collects what one answer comes to.
type registration struct {
	cfg      Config
	mistakes []Mistake
	// unusable is an answer about something else than a proxy, of which
	// nothing more can be said.
	unusable bool

	// service and opaque begin the names of the settings of the service's
	// definition and of its opaque configuration. upstreams are the names of
	// cfg.Upstreams, which are not always all that the agent has.
	service, opaque string
	upstreams       []string
	// origins are the places that the settings being read may come from, and
	// central is the one of them that agents write in CamelCase.
	origins, central string
	// names are those of settings that are not what Validate calls them, each
	// followed by what the registration does.
	names []string
	// strange counts the keys that nobody knows.
	strange int
}

// decode turns an answer into a configuration without defaults. The answer has
// the shape of its endpoint: fetch saw to that.
func (ans agentAnswer) decode(managed bool) *registration {
	r := &registration{cfg: Config{Mode: Registered, ProxyID: ans.id}}
	if managed {
		r.cfg.Mode = Managed
	}
	if ans.managed {
		m, _ := unmarshal[managedAnswer](ans.body)
		r.managed(m)
		return r
	}
	s, _ := unmarshal[serviceAnswer](ans.body)
	r.registered(s, ans.id)
	return r
}

func unmarshal[T any](body string) (t T, err error) {
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	err = d.Decode(&t)
	return t, err
}

func (r *registration) managed(m managedAnswer) {
	r.opaque, r.service = "connect.proxy.config.", "connect.proxy."
	r.cfg.ProxyID = cmp.Or(m.ProxyServiceID, r.cfg.ProxyID)
	r.cfg.Service, r.cfg.ServiceID = m.TargetServiceName, m.TargetServiceID
	r.origins = "connect.proxy.config of service " + quoted(m.TargetServiceName) + ", or connect.proxy_defaults.config of its agent"
	r.public(m.Config)
	if len(m.Upstreams) > 0 {
		r.origins = "connect.proxy.upstreams of service " + quoted(m.TargetServiceName)
		r.allUpstreams(r.service, m.Upstreams, "")
		return
	}
	// Consul 1.2 has them among the opaque settings.
	var objects []object
	if list, ok := fold(m.Config)["upstreams"].([]any); ok {
		for _, item := range list {
			o, err := value{raw: item, agent: true}.block()
			if err != nil {
				r.addMistake(r.opaque+"upstreams", value{raw: item}.String(), err.Error())
				continue
			}
			r.unknown(r.opaque+upstreamField(len(objects))+".", o, opaqueUpstreamNames, nil)
			objects = append(objects, o)
		}
	}
	r.allUpstreams(r.opaque, objects, "")
}

func (r *registration) registered(s serviceAnswer, id string) {
	r.opaque, r.service = "proxy.config.", "proxy."
	if s.Kind != kindProxy {
		r.unusable = true
		r.addMistake("kind", quoted(cmp.Or(s.Kind, "service")), fmt.Sprintf(
			"%s is not a %s: give the ID of one with -proxy-id, or with -sidecar-for the ID of the service that it is for", quoted(id), kindProxy))
		return
	}
	p := s.Proxy
	r.cfg.ProxyID = cmp.Or(s.ID, r.cfg.ProxyID)
	r.cfg.Service, r.cfg.ServiceID = p.DestinationServiceName, p.DestinationServiceID
	r.cfg.Namespace, r.cfg.Partition = s.Namespace, s.Partition
	own, name := "the registration of "+quoted(r.cfg.ProxyID), quoted(p.DestinationServiceName)
	r.origins = fmt.Sprintf("%s, service-defaults %s or proxy-defaults", own, name)
	r.public(p.Config)
	apply(r, &r.cfg, accessLogsKeys, r.service+"access_logs.", p.AccessLogs)
	r.advertised(s)
	r.local(s)
	for _, e := range p.EnvoyExtensions {
		if e.Required {
			r.addMistake(r.service+"envoy_extensions", quoted(e.Name), "a required extension of Envoy, which this proxy is not: make it optional or remove it")
			continue
		}
		r.extension(e.Name)
	}
	if p.Expose.Checks || len(p.Expose.Paths) > 0 {
		r.warn("expose is ignored: a TCP proxy opens no HTTP paths, so checks must reach the application itself")
	}
	if p.Mode == "transparent" {
		r.warn("mode transparent is ignored: the application reaches its upstreams by their local addresses only")
	}
	r.central = "upstream_config of service-defaults " + name
	r.origins = own + " or " + r.central
	r.allUpstreams(r.service, p.Upstreams, p.MeshGateway.Mode)
}

// advertised fills in where other proxies look for this one, as far as the
// opaque settings did not say where to listen. A host name is how others reach
// this machine, through an address that may be none of its own: with a name,
// the proxy listens on every address.
func (r *registration) advertised(s serviceAnswer) {
	switch p := r.cfg.Public; {
	case p.Bind.Path != "":
	case p.Bind.Host == "" && p.Bind.Port == 0 && s.SocketPath != "":
		p.Bind.Path = s.SocketPath
	default:
		if p.Bind.Host == "" && (literal(s.Address).IsValid() || loopback(s.Address)) {
			p.Bind.Host = s.Address
			r.names = append(r.names, "public_listener.bind_address", "address")
		}
		if p.Bind.Port == 0 && s.Port != 0 {
			p.Bind.Port = s.Port
			r.names = append(r.names, "public_listener.bind_port", "port")
		}
	}
}

// local says where the application is. The registration's own fields win over
// an opaque local_service_address, which agents derive from them.
func (r *registration) local(s serviceAnswer) {
	switch p := s.Proxy; {
	case p.LocalServiceSocketPath != "":
		r.cfg.Public.Local = Address{Path: p.LocalServiceSocketPath}
	case p.LocalServicePort != 0:
		host, _ := value{raw: p.LocalServiceAddress}.host()
		r.cfg.Public.Local = Address{Host: host, Port: p.LocalServicePort}
		if p.LocalServicePort < 0 || p.LocalServicePort > 65535 {
			r.names = append(r.names, localField, r.service+"local_service_port")
		}
	case r.cfg.Public.Local == Address{} && !(r.cfg.Micro != nil && r.cfg.Micro.ReceiveEvents):
		r.warn("service %s has no port: connections from other services are refused, its upstreams work", quoted(s.Proxy.DestinationServiceName))
	}
}

// public reads the opaque settings of a proxy.
func (r *registration) public(config object) {
	r.cfg.Public = &Public{}
	apply(r, r.cfg.Public, publicKeys, r.opaque, config)
	apply(r, &r.cfg, budgetKeys, r.opaque, config)
	apply(r, &r.cfg, builtInKeys, r.opaque, config)
	r.unknown(r.opaque, config, proxyNames, opaqueUpstreamNames)
	r.warnOfUnhonoured(r.opaque, "", config)
}

func (r *registration) addMistake(field, text, problem string) {
	r.mistakes = append(r.mistakes, Mistake{Field: field, Value: text, Problem: problem})
}

func (r *registration) warn(format string, args ...any) {
	r.cfg.Warnings = append(r.cfg.Warnings, fmt.Sprintf(format, args...))
}

// warnSecurity warns of something that would have kept somebody out.
func (r *registration) warnSecurity(format string, args ...any) {
	r.cfg.SecurityWarnings = append(r.cfg.SecurityWarnings, fmt.Sprintf(format, args...))
}
