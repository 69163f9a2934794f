package config

import (
	"cmp"
	"crypto/tls"
	"slices"
	"strings"
	"time"
)

// What a setting is where nothing is said of it.
const (
	// DefaultLocalConnectTimeout is Envoy's, which Consul documents for
	// local_connect_timeout_ms.
	DefaultLocalConnectTimeout = 5 * time.Second
	// DefaultHandshakeTimeout is what Consul 1.5 documents for
	// handshake_timeout_ms.
	DefaultHandshakeTimeout = 10 * time.Second
	// DefaultHalfCloseTimeout is long enough for a slow answer to a client that
	// has said all it will say, and short enough for a dead one not to pile up.
	DefaultHalfCloseTimeout = 5 * time.Minute

	// DefaultBalance is Balance's.
	DefaultBalance = LeastConnections

	// DefaultMaxStaleAuthorization is long enough for an agent to be replaced.
	DefaultMaxStaleAuthorization = 10 * time.Minute
	// DefaultDrainTimeout is for any proxy but a managed one.
	DefaultDrainTimeout = 30 * time.Second
	// DefaultManagedDrainTimeout leaves a second of the five between the
	// agent's SIGINT and its SIGKILL.
	DefaultManagedDrainTimeout = 4 * time.Second

	// DefaultLocalHost is where an upstream listens and where the application
	// is looked for unless an address says otherwise.
	DefaultLocalHost = "127.0.0.1"
)

// WithDefaults returns the configuration with every setting that was left out
// filled in. It alters nothing that c refers to.
func (c Config) WithDefaults() Config {
	c.MaxStaleAuthorization = cmp.Or(c.MaxStaleAuthorization, DefaultMaxStaleAuthorization)
	drain := DefaultDrainTimeout
	if c.Mode == Managed {
		drain = DefaultManagedDrainTimeout
	}
	c.DrainTimeout = cmp.Or(c.DrainTimeout, drain)
	c.TLS = c.TLS.withDefaults()
	c.AccessLog = c.AccessLog.withDefaults()
	if c.Public != nil {
		p := c.Public.withDefaults()
		c.Public = &p
	}
	if c.ByName != nil {
		b := c.ByName.withDefaults()
		c.ByName = &b
	}
	if c.Micro != nil {
		m := c.Micro.withDefaults()
		c.Micro = &m
		c.Public = c.Public.forEvents(m.ReceiveEvents)
	}
	c.serverDefaults()
	c.edgeDefaults()
	c.DynamicUpstreams = c.dynamicUpstreams()
	c.Upstreams = slices.Clone(c.Upstreams)
	for i, u := range c.Upstreams {
		c.Upstreams[i] = u.withDefaults(c.Namespace, c.Partition)
	}
	c.identified()
	return c
}

func (p Public) withDefaults() Public {
	p.LocalConnectTimeout = cmp.Or(p.LocalConnectTimeout, DefaultLocalConnectTimeout)
	p.HandshakeTimeout = cmp.Or(p.HandshakeTimeout, DefaultHandshakeTimeout)
	p.MinTLS = cmp.Or(p.MinTLS, tls.VersionTLS12)
	p.Limits = p.Limits.withDefaults()
	p.Local = p.Local.onLoopback()
	return p
}

// forEvents has what comes from other services be events, if it is to be.
func (p *Public) forEvents(receive bool) *Public {
	if p == nil || !receive {
		return p
	}
	events := *p
	events.Local, events.MicroEvents = Address{}, true
	return &events
}

func (l Limits) withDefaults() Limits {
	l.HalfCloseTimeout = cmp.Or(l.HalfCloseTimeout, DefaultHalfCloseTimeout)
	return l
}

func (u Upstream) withDefaults(namespace, partition string) Upstream {
	u.Destination.Type = u.Destination.ofType()
	u.Destination.Namespace = foreign(u.Destination.Namespace, namespace)
	u.Destination.Partition = foreign(u.Destination.Partition, partition)
	u.Bind = u.Bind.onLoopback()
	if u.Destination.Type != PreparedQuery {
		u.Balance = cmp.Or(u.Balance, DefaultBalance)
	}
	u.PassiveHealth = u.PassiveHealth.withDefaults()
	u.Limits = u.Limits.withDefaults()
	return u
}

// onLoopback keeps the application's side of the proxy off the network unless
// an address puts it there.
func (a Address) onLoopback() Address {
	if a.Path == "" && a.Host == "" {
		a.Host = DefaultLocalHost
	}
	return a
}

// foreign is empty for the proxy's own namespace or partition. Agents without
// namespaces name them "default" and refuse to be asked about that name.
func foreign(name, own string) string {
	if strings.EqualFold(cmp.Or(name, "default"), cmp.Or(own, "default")) {
		return ""
	}
	return name
}
