package config

import (
	"maps"
	"os"
	"time"
)

func merged[T any](tables ...keys[T]) keys[T] {
	all := keys[T]{}
	for _, t := range tables {
		maps.Copy(all, t)
	}
	return all
}

// budgetKeys stand at the top of a file, and in the opaque configuration of a
// proxy that an agent knows.
var budgetKeys = merged(tlsKeys, accessLogKeys, telemetryKeys, dynamicKeys, keys[Config]{
	"max_stale_authorization": timed(func(c *Config) *time.Duration { return &c.MaxStaleAuthorization }, shortest, longest),
	"max_stale_endpoints":     timed(func(c *Config) *time.Duration { return &c.MaxStaleEndpoints }, shortest, longest),
	"drain_timeout":           timed(func(c *Config) *time.Duration { return &c.DrainTimeout }, shortest, longest),
})

// fileKeys stand at the top of a file.
var fileKeys = merged(budgetKeys, keys[Config]{
	"service_name": into(func(c *Config) *string { return &c.Service }, value.text),
	"service_id":   into(func(c *Config) *string { return &c.ServiceID }, value.text),
	"namespace":    into(func(c *Config) *string { return &c.Namespace }, value.text),
	"partition":    into(func(c *Config) *string { return &c.Partition }, value.text),
	"access_logs":  {block: accessLogsKeys},
	"edge": {
		begin: func(c *Config) { c.edge() },
		block: inside((*Config).edge, edgeKeys),
	},
})

// publicKeys stand in the opaque configuration of a proxy that an agent knows,
// and in a file's public_listener block.
var publicKeys = merged(limitKeys(func(p *Public) *Limits { return &p.Limits }), keys[Public]{
	"bind_address":             into(func(p *Public) *string { return &p.Bind.Host }, value.host),
	"bind_port":                into(func(p *Public) *int { return &p.Bind.Port }, value.count),
	"bind_socket_path":         into(func(p *Public) *string { return &p.Bind.Path }, value.text),
	"bind_socket_mode":         into(func(p *Public) *os.FileMode { return &p.Bind.Mode }, value.fileMode),
	"local_service_address":    into(func(p *Public) *Address { return &p.Local }, value.address),
	"local_connect_timeout_ms": millis(func(p *Public) *time.Duration { return &p.LocalConnectTimeout }, localDials, longDial),
	"local_proxy_protocol":     into(func(p *Public) *ProxyProtocol { return &p.LocalProxyProtocol }, named[ProxyProtocol]),
	"handshake_timeout_ms":     millis(func(p *Public) *time.Duration { return &p.HandshakeTimeout }, shortest, longDial),
	"max_inbound_connections":  counted(func(p *Public) *int { return &p.MaxConnections }),
	"tls_min_version":          into(func(p *Public) *uint16 { return &p.MinTLS }, value.tlsVersion),
	"alpn":                     into(func(p *Public) *[]string { return &p.ALPN }, value.texts),
})

// publicFileKeys stand in a file's public_listener block. What Consul calls
// local_idle_timeout_ms bounds HTTP streams: in a file, which is for this proxy
// alone, it can only mean connections.
var publicFileKeys = merged(publicKeys, keys[Public]{
	"local_idle_timeout_ms": millis(func(p *Public) *time.Duration { return &p.IdleTimeout }, shortest, longest),
	"identity":              into(func(p *Public) *string { return &p.Identity }, value.text),
	"allow":                 into(func(p *Public) *[]string { return &p.Allow }, value.texts),
})

// bindKeys and dialKeys stand in a file's upstream block. An agent gives the
// former as fields of an upstream and the latter in its opaque configuration.
var (
	bindKeys = keys[Upstream]{
		"destination_type":       into(func(u *Upstream) *DestinationType { return &u.Destination.Type }, named[DestinationType]),
		"destination_name":       into(func(u *Upstream) *string { return &u.Destination.Name }, value.text),
		"destination_namespace":  into(func(u *Upstream) *string { return &u.Destination.Namespace }, value.text),
		"destination_partition":  into(func(u *Upstream) *string { return &u.Destination.Partition }, value.text),
		"datacenter":             into(func(u *Upstream) *string { return &u.Destination.Datacenter }, value.text),
		"local_bind_address":     into(func(u *Upstream) *string { return &u.Bind.Host }, value.host),
		"local_bind_port":        into(func(u *Upstream) *int { return &u.Bind.Port }, value.count),
		"local_bind_socket_path": into(func(u *Upstream) *string { return &u.Bind.Path }, value.text),
		"local_bind_socket_mode": into(func(u *Upstream) *os.FileMode { return &u.Bind.Mode }, value.fileMode),
		"mesh_gateway":           meshGateway,
	}
	dialKeys = merged(limitKeys(func(u *Upstream) *Limits { return &u.Limits }), keys[Upstream]{
		"connect_timeout_ms": millis(func(u *Upstream) *time.Duration { return &u.ConnectTimeout }, shortest, longDial),
		"balance":            into(func(u *Upstream) *Balance { return &u.Balance }, named[Balance]),
		"reset_on_change":    into(func(u *Upstream) *ResetOnChange { return &u.ResetOnChange }, named[ResetOnChange]),
		"mesh_gateway":       meshGateway,
		"limits": {block: keys[Upstream]{
			"max_connections": limited(func(u *Upstream) *int { return &u.MaxConnections }),
		}},
		"passive_health_check": {block: passiveHealthKeys},
	})
	meshGateway = setting[Upstream]{block: keys[Upstream]{
		"mode": into(func(u *Upstream) *string { return &u.MeshGateway }, value.text),
	}}
	upstreamKeys     = merged(bindKeys, dialKeys)
	upstreamFileKeys = merged(upstreamKeys, destinationKeys, etcdKeys)
)

func limitKeys[T any](at func(*T) *Limits) keys[T] {
	return keys[T]{
		"idle_timeout":       timed(func(t *T) *time.Duration { return &at(t).IdleTimeout }, shortest, longest),
		"max_lifetime":       timed(func(t *T) *time.Duration { return &at(t).MaxLifetime }, shortest, longest),
		"half_close_timeout": timed(func(t *T) *time.Duration { return &at(t).HalfCloseTimeout }, shortest, longest),
	}
}

// named reads a name of a set that Validate knows.
func named[T ~string](v value) (T, error) {
	s, err := v.text()
	return T(s), err
}
