package connectproxy

import (
	"cmp"
	"slices"
	"time"

	"connect-proxy/config"
	"connect-proxy/listener"
	"connect-proxy/upstream"
)

// role is the side of the mesh that a listener faces.
type role string

const (
	// rolePublic takes connections from other proxies and hands them to the
	// application.
	rolePublic role = "public"
	// roleUpstream takes connections from the application and hands them to
	// another service's proxy.
	roleUpstream role = "upstream"
	// roleByName takes connections from applications and hands them to whatever
	// service they name.
	roleByName role = "by_name"
	// roleMicro takes connections from applications of Micro and hands each message
	// to the service that it names.
	roleMicro role = "micro"
	// roleEdge takes connections from strangers and hands what they ask for to the
	// service that its path names.
	roleEdge role = "edge"
	// roleInternal takes connections from this process's own front ends and hands
	// them to whatever service they name. It has no address.
	roleInternal role = "internal"
)

// longestDial bounds the dial of an upstream that has no timeout of its own,
// beyond any that a destination has.
const longestDial = time.Hour

// key identifies a listener: two configurations that name the same key mean the
// same socket. The mode of a unix socket is not part of it, for it can be
// changed under an open one.
type key struct {
	role    role
	network string
	address string
}

// spec is one listener as a configuration wants it: data only, so that two of
// them can be compared. It is not altered.
type spec struct {
	key  key
	name string
	bind config.Address
	// identity names the one that the listener stands for.
	identity string

	// Exactly one of these is set, by the role. Where destinations are named at
	// run time, upstream has none.
	public   *config.Public
	upstream *config.Upstream
	// byName goes with roleByName.
	byName *config.ByName
	// micro goes with roleMicro.
	micro *config.Micro
	// edge goes with roleEdge.
	edge *config.Edge

	maxStaleEndpoints time.Duration
}

// serviceIdentity names the identity of the service itself, which a configuration
// leaves empty and gives to no other.
const serviceIdentity = "consul"

// namedIdentity is an identity under the name that specs have for it.
type namedIdentity struct {
	name string
	IdentityOptions
}

// desired is a configuration in the engine's terms.
type desired struct {
	// identities are those that specs name.
	identities []namedIdentity
	// authorizer judges the callers of the public listener; nil without one. Its
	// Identity is that of the listener's principal at the time.
	authorizer *AuthorizerOptions
	// specs has the public listener first, then the upstreams in the
	// configuration's order.
	specs []*spec
}

// translate returns what a configuration asks of the engine.
func translate(c *config.Config) desired {
	d := desired{identities: identitiesOf(c)}
	if c.Public != nil {
		d.authorizer = &AuthorizerOptions{MaxStale: c.MaxStaleAuthorization, Allow: c.Public.Allow}
		d.specs = append(d.specs, &spec{
			key:      keyOf(rolePublic, c.Public.Bind),
			name:     string(rolePublic),
			bind:     c.Public.Bind,
			identity: cmp.Or(c.Public.Identity, serviceIdentity),
			public:   c.Public,
		})
	}
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		d.specs = append(d.specs, &spec{
			key:               upstreamKey(u),
			name:              u.Destination.String(),
			bind:              u.Bind,
			identity:          cmp.Or(u.Identity, serviceIdentity),
			upstream:          u,
			maxStaleEndpoints: c.MaxStaleEndpoints,
		})
	}
	d.specs = append(d.specs, frontEnds(c)...)
	if c.NamesAtRunTime() {
		d.specs = append(d.specs, &spec{
			key:               key{role: roleInternal},
			name:              "dynamic upstreams",
			identity:          serviceIdentity,
			upstream:          c.DynamicUpstreams,
			maxStaleEndpoints: c.MaxStaleEndpoints,
		})
	}
	return d
}

// frontEnds are the listeners whose clients name where they go.
func frontEnds(c *config.Config) []*spec {
	var all []*spec
	if c.ByName != nil {
		all = append(all, &spec{
			key:               keyOf(roleByName, c.ByName.Bind),
			name:              string(roleByName),
			bind:              c.ByName.Bind,
			identity:          serviceIdentity,
			upstream:          c.DynamicUpstreams,
			byName:            c.ByName,
			maxStaleEndpoints: c.MaxStaleEndpoints,
		})
	}
	if c.Micro.Listens() {
		all = append(all, &spec{
			key:               keyOf(roleMicro, c.Micro.Bind),
			name:              string(roleMicro),
			bind:              c.Micro.Bind,
			identity:          serviceIdentity,
			upstream:          c.DynamicUpstreams,
			micro:             c.Micro,
			maxStaleEndpoints: c.MaxStaleEndpoints,
		})
	}
	if c.Edge != nil {
		all = append(all, &spec{
			key:               keyOf(roleEdge, c.Edge.Bind),
			name:              string(roleEdge),
			bind:              c.Edge.Bind,
			identity:          serviceIdentity,
			upstream:          c.DynamicUpstreams,
			edge:              c.Edge,
			maxStaleEndpoints: c.MaxStaleEndpoints,
		})
	}
	return all
}

// named reports whether clients of s name where they go.
func (s *spec) named() bool {
	return slices.Contains([]role{roleByName, roleMicro, roleEdge, roleInternal}, s.key.role)
}

// identitiesOf lists those that listeners stand for: the service's own first,
// then those from files in their order.
func identitiesOf(c *config.Config) []namedIdentity {
	named := map[string]bool{}
	if c.Public != nil {
		named[c.Public.Identity] = true
	}
	for _, u := range c.Upstreams {
		named[u.Identity] = true
	}
	if c.NamesAtRunTime() {
		named[""] = true
	}
	var all []namedIdentity
	if named[""] || len(named) == 0 {
		all = append(all, namedIdentity{serviceIdentity, IdentityOptions{
			Service: c.Service, Namespace: c.Namespace, Partition: c.Partition, Managed: c.Mode == config.Managed, TLS: c.TLS,
		}})
	}
	for _, i := range c.Identities {
		if named[i.Name] {
			all = append(all, namedIdentity{i.Name, IdentityOptions{Source: FromFiles, Name: i.Name, Files: i.CertificateFiles, TLS: c.TLS}})
		}
	}
	if named[config.PlaintextIdentity] {
		all = append(all, namedIdentity{config.PlaintextIdentity, IdentityOptions{Source: Plaintext, Name: config.PlaintextIdentity}})
	}
	return all
}

// inProcess is the network of upstreams that have no local port.
const inProcess = "in-process"

func upstreamKey(u *config.Upstream) key {
	if u.Bind.Unset() {
		return key{role: roleUpstream, network: inProcess, address: u.Destination.String()}
	}
	return keyOf(roleUpstream, u.Bind)
}

// withoutPort reports whether s is there for Dial alone.
func (s *spec) withoutPort() bool { return s.key.network == inProcess }

func keyOf(r role, a config.Address) key {
	return key{role: r, network: a.Network(), address: a.String()}
}

// openable returns the listeners that may be open. The public one may only
// while its identity can be proved, as valid reports: without that no peer can
// be served, and a closed port is what makes the agent's TCP check fail and
// other instances take over.
func (d desired) openable(valid func(identity string) bool) []*spec {
	closed := func(s *spec) bool { return s.key.role == rolePublic && !valid(s.identity) }
	if !slices.ContainsFunc(d.specs, closed) {
		return d.specs
	}
	return slices.DeleteFunc(slices.Clone(d.specs), closed)
}

// serves reports whether connections still lead to where s led, at whatever
// address.
func (d desired) serves(s *spec) bool {
	for _, have := range d.specs {
		if have.key.role != s.key.role {
			continue
		}
		if s.key.role == rolePublic || s.named() || have.upstream.Destination == s.upstream.Destination {
			return true
		}
	}
	return false
}

// listenerOptions are the settings of s that belong to its listener. The
// functions it works with are the caller's to add.
func (s *spec) listenerOptions() listener.Options {
	o := listener.Options{Name: s.name}
	var limits config.Limits
	switch s.key.role {
	case rolePublic:
		limits = s.public.Limits
		o.HandshakeTimeout = s.public.HandshakeTimeout
		o.DialTimeout = s.public.LocalConnectTimeout
		o.MaxConnections = s.public.MaxConnections
	case roleUpstream, roleByName, roleMicro, roleEdge, roleInternal:
		limits = s.upstream.Limits
		// The upstream bounds the dial itself: its timeout may come from the
		// destination.
		o.DialTimeout = longestDial
		if t := s.upstream.ConnectTimeout; t > 0 {
			o.DialTimeout = t
		}
	}
	if s.byName != nil {
		o.MaxConnections = s.byName.MaxConnections
	}
	if s.micro != nil {
		o.MaxConnections = s.micro.MaxConnections
	}
	if s.edge != nil {
		o.MaxConnections, o.FairConnections = s.edge.MaxConnections, true
	}
	o.IdleTimeout = limits.IdleTimeout
	o.MaxLifetime = limits.MaxLifetime
	o.HalfCloseTimeout = limits.HalfCloseTimeout
	return o
}

// upstreamOptions are the settings of s that belong to its upstream.
func (s *spec) upstreamOptions() upstream.Options {
	u := s.upstream
	return upstream.Options{
		Name:               s.name,
		ConnectTimeout:     u.ConnectTimeout,
		Balance:            string(u.Balance),
		MaxConnections:     u.MaxConnections,
		MaxFailures:        u.PassiveHealth.MaxFailures,
		SetAside:           u.PassiveHealth.BaseEjectionTime,
		MaxSetAside:        u.PassiveHealth.LongestEjection(),
		MaxSetAsidePercent: u.PassiveHealth.MaxEjectionPercent,
		NeverSetAside:      u.PassiveHealth.Disabled,
		MaxStale:           s.maxStaleEndpoints,
	}
}
