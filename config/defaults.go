package config

import (
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
	DefaultHandshakeTimeout    = 10 * time.Second
	// DefaultHalfCloseTimeout is long enough for a slow answer to a client that
	// has said all it will say, and short enough for a dead one not to pile up.
	DefaultHalfCloseTimeout = 5 * time.Minute

	DefaultBalance = LeastConnections
	// DefaultMaxFailures is one, since a failed dial is an answer in itself: a
	// second client would only wait as long as the first did.
	DefaultMaxFailures     = 1
	DefaultPassiveInterval = time.Second

	DefaultMaxStaleAuthorization = 10 * time.Minute
	DefaultDrainTimeout          = 30 * time.Second
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
	c.MaxStaleAuthorization = either(c.MaxStaleAuthorization, DefaultMaxStaleAuthorization)
	drain := DefaultDrainTimeout
	if c.Mode == Managed {
		drain = DefaultManagedDrainTimeout
	}
	c.DrainTimeout = either(c.DrainTimeout, drain)
	c.TLS = c.TLS.withDefaults()
	if c.Public != nil {
		p := c.Public.withDefaults()
		c.Public = &p
	}
	c.Upstreams = slices.Clone(c.Upstreams)
	for i, u := range c.Upstreams {
		c.Upstreams[i] = u.withDefaults(c.Namespace, c.Partition)
	}
	return c
}

func (p Public) withDefaults() Public {
	p.LocalConnectTimeout = either(p.LocalConnectTimeout, DefaultLocalConnectTimeout)
	p.HandshakeTimeout = either(p.HandshakeTimeout, DefaultHandshakeTimeout)
	p.MinTLS = either(p.MinTLS, tls.VersionTLS12)
	p.Limits = p.Limits.withDefaults()
	p.Local = p.Local.onLoopback()
	return p
}

func (l Limits) withDefaults() Limits {
	l.HalfCloseTimeout = either(l.HalfCloseTimeout, DefaultHalfCloseTimeout)
	return l
}

func (u Upstream) withDefaults(namespace, partition string) Upstream {
	u.Destination.Type = either(u.Destination.Type, Service)
	u.Destination.Namespace = foreign(u.Destination.Namespace, namespace)
	u.Destination.Partition = foreign(u.Destination.Partition, partition)
	u.Bind = u.Bind.onLoopback()
	if u.Destination.Type != PreparedQuery {
		u.Balance = either(u.Balance, DefaultBalance)
	}
	u.PassiveHealth.MaxFailures = either(u.PassiveHealth.MaxFailures, DefaultMaxFailures)
	u.PassiveHealth.Interval = either(u.PassiveHealth.Interval, DefaultPassiveInterval)
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
	if strings.EqualFold(either(name, "default"), either(own, "default")) {
		return ""
	}
	return name
}

func either[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
