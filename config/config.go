package config

import (
	"net"
	"os"
	"strconv"
	"time"
)

// Mode says which source a configuration came from.
type Mode string

const (
	// Managed is a proxy that a Consul 1.2–1.5 agent launched itself.
	Managed Mode = "managed"
	// Registered is a `Kind: connect-proxy` service on the local agent.
	Registered Mode = "registered"
	// File is an HCL or JSON file.
	File Mode = "file"
	// Flags is the command line alone.
	Flags Mode = "flags"
)

// Config is everything one proxy runs by. It is a value: a Source hands out a
// new one for each change and nobody alters it afterwards.
type Config struct {
	Mode Mode

	// ProxyID is the agent's ID of the proxy service; empty where the proxy is
	// not registered.
	ProxyID string

	// Service is the name of the service that the proxy represents: it decides
	// the leaf certificate and which intentions apply.
	Service string
	// ServiceID is the agent's ID of that service; empty if unknown.
	ServiceID string
	// Namespace and Partition are Consul Enterprise's; empty means "default".
	Namespace, Partition string

	// Public is the mTLS listener in front of the service; nil for a proxy that
	// only dials.
	Public    *Public
	Upstreams []Upstream

	// MaxStaleAuthorization bounds how long a decision is served while the
	// agent cannot be asked; zero means DefaultMaxStaleAuthorization.
	MaxStaleAuthorization time.Duration
	// MaxStaleEndpoints bounds how long endpoints are served while the agent
	// cannot be asked; zero means for as long as the process lives.
	MaxStaleEndpoints time.Duration
	// DrainTimeout bounds the wait for open connections at exit; zero means
	// DefaultManagedDrainTimeout for a managed proxy and DefaultDrainTimeout
	// for any other.
	DrainTimeout time.Duration

	// TLS says how connections with other proxies are secured.
	TLS TLS

	// Warnings name, one sentence each, the settings that were read and that a
	// TCP proxy does not honour.
	Warnings []string
}

// Public is the mTLS listener and the application behind it.
type Public struct {
	Bind Address
	// Local is the application. Its port is 0 where a registered service has
	// none of its own: then every dial fails, and health checks of the listener
	// still pass.
	Local Address

	// LocalConnectTimeout bounds the dial to the application.
	LocalConnectTimeout time.Duration
	// HandshakeTimeout bounds what a stranger may take until it is authorized.
	HandshakeTimeout time.Duration
	// MaxConnections is the most connections at a time; zero means no limit.
	MaxConnections int
	// MinTLS is tls.VersionTLS12 or tls.VersionTLS13; zero means 1.2.
	MinTLS uint16
	// ALPN is offered to clients that ask for it; empty means none.
	ALPN []string

	Limits
}

// Limits bound the life of a connection on any listener.
type Limits struct {
	// IdleTimeout closes a connection on which nothing has moved for so long;
	// zero means never.
	IdleTimeout time.Duration
	// MaxLifetime closes a connection of that age; zero means never.
	MaxLifetime time.Duration
	// HalfCloseTimeout closes a half-closed connection on which nothing has
	// moved for so long; zero means DefaultHalfCloseTimeout.
	HalfCloseTimeout time.Duration
}

// Upstream is one local listener and the destination behind it.
type Upstream struct {
	Destination Destination
	Bind        Address

	// ConnectTimeout bounds everything from an accepted connection to an
	// authenticated instance, all attempts together; zero leaves it to the
	// destination's service-resolver, and is 5 s where that says nothing.
	ConnectTimeout time.Duration
	// Balance is empty for a prepared query that keeps its own order.
	Balance Balance
	// MaxConnections is the most connections at a time; zero means no limit.
	MaxConnections int
	// PassiveHealth says when failures set an instance aside.
	PassiveHealth PassiveHealth
	// MeshGateway is "", "none", "local" or "remote".
	MeshGateway string

	Limits
}

// Balance names how an instance is picked.
type Balance string

const (
	// LeastConnections picks the less loaded of two random instances,
	// honouring weights. It is the default.
	LeastConnections Balance = "least_connections"
	// RoundRobin takes the instances in turn, honouring weights.
	RoundRobin Balance = "round_robin"
	// Random picks any, honouring weights.
	Random Balance = "random"
	// Ordered takes the first instance that works, in the catalog's order.
	Ordered Balance = "ordered"
)

// PassiveHealth is Consul's passive_health_check as far as connections go.
type PassiveHealth struct {
	// MaxFailures in a row set an instance aside; zero means
	// DefaultMaxFailures.
	MaxFailures int
	// Interval is the first time an instance is set aside for; it doubles with
	// each further failure. Zero means DefaultPassiveInterval.
	Interval time.Duration
}

// DestinationType says how a destination's name is resolved.
type DestinationType string

const (
	// Service is a service of the catalog. It is the default.
	Service DestinationType = "service"
	// PreparedQuery is run by the agent, which decides on the service.
	PreparedQuery DestinationType = "prepared_query"
)

// Destination is what an upstream leads to. It is comparable.
type Destination struct {
	Type DestinationType
	// Name is a service's name, or a prepared query's name or ID.
	Name string
	// Namespace, Partition and Datacenter are empty for the proxy's own.
	Namespace, Partition, Datacenter string
}

// String names the destination in logs: db, db.dc.dc2, near.query.
func (d Destination) String() string {
	s := d.Name
	if d.Type == PreparedQuery {
		s += ".query"
	}
	if d.Namespace != "" {
		s += ".ns." + d.Namespace
	}
	if d.Partition != "" {
		s += ".ap." + d.Partition
	}
	if d.Datacenter != "" {
		s += ".dc." + d.Datacenter
	}
	return s
}

// Address is a TCP address or the path of a unix socket. It is comparable, and
// a net.Addr.
type Address struct {
	// Host and Port are a TCP address; Host is an IP literal without brackets
	// or a host name, and empty for every address.
	Host string
	Port int
	// Path is a unix socket's and excludes Host and Port.
	Path string
	// Mode is the permission bits of a unix socket that is bound; zero leaves
	// them to the umask.
	Mode os.FileMode
}

var _ net.Addr = Address{}

// Network is "unix" or "tcp".
func (a Address) Network() string {
	if a.Path != "" {
		return "unix"
	}
	return "tcp"
}

// String gives what net.Dial and net.Listen take.
func (a Address) String() string {
	if a.Path != "" {
		return a.Path
	}
	return net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
}
