package connectproxy

import (
	"slices"

	"connect-proxy/config"
	"connect-proxy/connectproxy/edge"
	"connect-proxy/connectproxy/static"
)

// check returns what says of a configuration why it cannot be used here, though
// it is valid: there are files that it names and nobody can read, or it needs an
// agent and there is none, or a registration that was not asked for at the start.
func (p *Proxy) check(o Options) func(*config.Config) error {
	return func(c *config.Config) error {
		var mistakes []config.Mistake
		needsAgent := func(field, what string) {
			mistakes = append(mistakes, config.Mistake{Field: field, Problem: what + " is Consul's, and there is no agent to ask"})
		}
		for _, i := range translate(c).identities {
			switch {
			case o.Identity != nil:
			case i.Source == FromConsul && o.Client == nil:
				needsAgent("service_name", "the identity of service "+i.Service)
			}
		}
		if o.Identity == nil {
			mistakes = append(mistakes, FileMistakes(c)...)
		}
		if c.Public != nil && c.Public.Identity == "" && o.Authorizer == nil && o.Client == nil {
			needsAgent("public_listener", "who may call")
		}
		for _, u := range c.Upstreams {
			if d := u.Destination; o.Client == nil && d.OfConsul() && p.resolvers.byType[d.Type] == nil {
				needsAgent("upstreams", u.Destination.String())
			}
			if u.Destination.Type == config.EtcdKeys && p.resolvers.byType[config.EtcdKeys] == nil {
				mistakes = append(mistakes, config.Mistake{Field: "upstreams", Value: u.Destination.String(), Problem: "this program is built without etcd: `make build-etcd` builds the one that has it"})
			}
		}
		if c.RegistersApplication() && o.Register == nil {
			mistakes = append(mistakes, config.Mistake{Field: "micro.server_name", Value: c.Micro.Server.Name, Problem: "the proxy was started without it or -register, and registers nothing: restart it"})
		}
		if len(mistakes) > 0 {
			return &config.Invalid{Origin: origin(c), Mistakes: mistakes}
		}
		return nil
	}
}

// FileMistakes reads the certificates, keys and CAs of the identities that listeners
// of c stand for, and names every fault, by which a proxy that starts would refuse c.
func FileMistakes(c *config.Config) []config.Mistake {
	var mistakes []config.Mistake
	for _, i := range identitiesOf(c) {
		if i.Source != FromFiles {
			continue
		}
		for _, err := range static.Check(i.Files) {
			mistakes = append(mistakes, config.Mistake{Field: "identity." + i.Name, Problem: err.Error()})
		}
	}
	return mistakes
}

// FileWarnings reads the certificate and key that the edge shows, and says, a sentence
// each, why it cannot do so yet: the proxy waits for them.
func FileWarnings(c *config.Config) (all []string) {
	if c.Edge == nil || c.Edge.Cert == "" {
		return nil
	}
	for _, err := range edge.CheckFiles(c.Edge.Cert, c.Edge.Key) {
		all = append(all, "edge: no certificate: "+err.Error())
	}
	return slices.Compact(all) // both may be in one file
}
