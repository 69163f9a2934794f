package connectproxy

import (
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
)

// longestDial bounds the dial of an upstream that has no timeout of its own,
// beyond any that a destination has.
const longestDial = time.Hour

// key tells listeners apart: two configurations that name the same key mean
// the same socket. The mode of a unix socket is not part of it, for it can be
// changed under an open one.
type key struct {
	role    role
	network string
	address string
}

// spec is one listener as a configuration wants it: data only, so that two of
// them can be compared.
type spec struct {
	key  key
	name string
	bind config.Address

	// Exactly one of these is set, by the role.
	public   *config.Public
	upstream *config.Upstream

	maxStaleEndpoints time.Duration
}

// identityKey is what an identity depends on: whose leaf certificate it has, and
// how it is used.
type identityKey struct {
	service, namespace, partition string
	tls                           config.TLS
}

// authorizerKey is what an authorizer depends on.
type authorizerKey struct {
	identityKey
	maxStale time.Duration
}

// plan is a configuration in the engine's terms.
type plan struct {
	identity   identityKey
	authorizer authorizerKey
	// specs has the public listener first, then the upstreams in the
	// configuration's order.
	specs []spec
}

// translate says what a configuration asks of the engine.
func translate(c *config.Config) plan {
	id := identityKey{service: c.Service, namespace: c.Namespace, partition: c.Partition, tls: c.TLS}
	p := plan{identity: id, authorizer: authorizerKey{identityKey: id, maxStale: c.MaxStaleAuthorization}}
	if c.Public != nil {
		p.specs = append(p.specs, spec{
			key:    keyOf(rolePublic, c.Public.Bind),
			name:   string(rolePublic),
			bind:   c.Public.Bind,
			public: c.Public,
		})
	}
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		p.specs = append(p.specs, spec{
			key:               keyOf(roleUpstream, u.Bind),
			name:              u.Destination.String(),
			bind:              u.Bind,
			upstream:          u,
			maxStaleEndpoints: c.MaxStaleEndpoints,
		})
	}
	return p
}

func keyOf(r role, a config.Address) key {
	return key{role: r, network: a.Network(), address: a.String()}
}

// gated is the plan's listeners that may be open. The public one may only
// while there is a valid leaf: without one no peer can be served, and a closed
// port is what makes the agent's TCP check fail and other instances take over.
func (p plan) gated(leaf bool) []spec {
	if leaf {
		return p.specs
	}
	var open []spec
	for _, s := range p.specs {
		if s.key.role != rolePublic {
			open = append(open, s)
		}
	}
	return open
}

// serves says whether the plan still leads to where s led, at whatever
// address.
func (p plan) serves(s spec) bool {
	for _, have := range p.specs {
		if have.key.role != s.key.role {
			continue
		}
		if s.key.role == rolePublic || have.upstream.Destination == s.upstream.Destination {
			return true
		}
	}
	return false
}

// listenerOptions are the settings of s that belong to its listener. The
// functions it works with are the caller's to add.
func (s spec) listenerOptions() listener.Options {
	o := listener.Options{Name: s.name}
	var limits config.Limits
	switch s.key.role {
	case rolePublic:
		limits = s.public.Limits
		o.HandshakeTimeout = s.public.HandshakeTimeout
		o.DialTimeout = s.public.LocalConnectTimeout
		o.MaxConnections = s.public.MaxConnections
	case roleUpstream:
		limits = s.upstream.Limits
		// The upstream keeps the time itself: what it is may be the
		// destination's to say.
		o.DialTimeout = longestDial
		if t := s.upstream.ConnectTimeout; t > 0 {
			o.DialTimeout = t
		}
	}
	o.IdleTimeout = limits.IdleTimeout
	o.MaxLifetime = limits.MaxLifetime
	o.HalfCloseTimeout = limits.HalfCloseTimeout
	return o
}

// upstreamOptions are the settings of s that belong to its upstream.
func (s spec) upstreamOptions() upstream.Options {
	u := s.upstream
	return upstream.Options{
		Name:           s.name,
		ConnectTimeout: u.ConnectTimeout,
		Balance:        string(u.Balance),
		MaxConnections: u.MaxConnections,
		MaxFailures:    u.PassiveHealth.MaxFailures,
		SetAside:       u.PassiveHealth.BaseEjectionTime,
		MaxStale:       s.maxStaleEndpoints,
	}
}
