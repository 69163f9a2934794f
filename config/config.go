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
	// Embedded is a program that has the proxy within itself. Its upstreams may be
	// without an address, since the program can dial, and so may the application.
	Embedded Mode = "embedded"
)

// Config is everything one proxy runs by. It is a value: a Source hands out a
// new one for each change and nobody alters it afterwards.
type Config struct {
	// Mode is the kind of source that it came from.
	Mode Mode

	// ProxyID is the agent's ID of the proxy service; empty where the proxy is
	// not registered.
	ProxyID string

	// Service is the name of the service that the proxy represents: it decides
	// the leaf certificate and which intentions apply. It may be empty where
	// nothing is Consul's.
	Service string
	// ServiceID is the agent's ID of that service; empty if unknown.
	ServiceID string
	// Namespace and Partition are Consul Enterprise's; empty means "default".
	Namespace, Partition string

	// Public is the mTLS listener in front of the service; nil for a proxy that
	// only dials.
	Public *Public
	// Upstreams are the listeners for the application's own calls, in the order
	// in which they were given; empty means none.
	Upstreams []Upstream
	// Identities are certificates from files that listeners may stand for; nil
	// where everything stands for the service, by Consul.
	Identities []Identity

	// ByName is the listener for clients that name a destination; nil without
	// one.
	ByName *ByName
	// Micro is the listener for applications of Micro; nil without one.
	Micro *Micro
	// Edge is the listener for strangers; nil without one.
	Edge *Edge
	// DynamicUpstreams has the settings of all destinations that are named at run
	// time, and an empty Destination and Bind; nil where there are none.
	DynamicUpstreams *Upstream

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

	// AccessLog says which connections are recorded, where and how.
	AccessLog AccessLog

	// Telemetry says where metrics are sent.
	Telemetry Telemetry

	// TLS says how connections with other proxies are secured.
	TLS TLS

	// Warnings name, one sentence each, the settings that were read and that a
	// TCP proxy does not honour.
	Warnings []string
	// SecurityWarnings name those that guard something where Envoy reads them,
	// so that it is open here.
	SecurityWarnings []string
}

// Public is the mTLS listener and the application behind it.
type Public struct {
	// Bind is where callers of the mesh connect.
	Bind Address
	// Local is the application. Its port is 0 where a registered service has
	// none of its own: then every dial fails, and health checks of the listener
	// still pass. It means nothing where a program accepts by itself.
	Local Address
	// MicroEvents is set where connections bring events for websockets (see
	// Micro.ReceiveEvents), and Local is not used. WithDefaults sets it.
	MicroEvents bool

	// LocalConnectTimeout bounds the dial to the application; zero means
	// DefaultLocalConnectTimeout.
	LocalConnectTimeout time.Duration
	// LocalProxyProtocol says whether the application is told who calls before
	// anything else; empty means that it is not.
	LocalProxyProtocol ProxyProtocol
	// HandshakeTimeout bounds what a stranger may take until it is authorized; zero
	// means DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration
	// Identity names the one of Config.Identities that is proved; empty means
	// Consul's.
	Identity string
	// Allow is who may connect where the identity is from files: patterns of
	// package allowlist. Empty means nobody. By Consul's identity it is what
	// intentions say.
	Allow []string
	// MaxConnections is the most connections at a time; zero means no limit.
	MaxConnections int
	// MinTLS is tls.VersionTLS12 or tls.VersionTLS13; zero means 1.2.
	MinTLS uint16
	// ALPN is offered to clients that ask for it; empty means none.
	ALPN []string

	Limits
}

// ProxyProtocol names a version of the PROXY protocol.
type ProxyProtocol string

// ProxyProtocolV2 is the binary one, which has room for identities.
const ProxyProtocolV2 ProxyProtocol = "v2"

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
	// Destination is what connections lead to.
	Destination Destination
	// Bind is where the application connects. It is unset where only a program dials
	// that has the proxy within itself.
	Bind Address
	// Identity names the one of Config.Identities that is proved to instances, and
	// that knows theirs, or is PlaintextIdentity; empty means Consul's.
	Identity string

	// ConnectTimeout bounds everything from an accepted connection to an
	// authenticated instance, all attempts together; zero leaves it to the
	// destination's service-resolver, and is 5 s where that says nothing.
	ConnectTimeout time.Duration
	// Balance is empty for a prepared query that keeps its own order.
	Balance Balance
	// ResetOnChange says which open connections are reset when the destination's
	// instances change; empty means none.
	ResetOnChange ResetOnChange
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
	// Ordered takes the first instance that works, in the order in which they
	// are named.
	Ordered Balance = "ordered"
)

var balances = []Balance{LeastConnections, RoundRobin, Random, Ordered}

// ResetOnChange names the connections that a change of instances resets.
type ResetOnChange string

const (
	// ResetNone leaves all of them alone.
	ResetNone ResetOnChange = ""
	// ResetGone resets those to instances that are gone.
	ResetGone ResetOnChange = "gone"
	// ResetAll resets every one.
	ResetAll ResetOnChange = "all"
)

// Address is a TCP address or the path of a unix socket. It is comparable, and
// a net.Addr.
type Address struct {
	// Host is that of a TCP address: an IP literal without brackets or a host
	// name, and empty for every address.
	Host string
	// Port is its port; zero where there is a Path.
	Port int
	// Path is a unix socket's and excludes Host and Port.
	Path string
	// Mode is the permission bits of a unix socket that is bound; zero leaves
	// them to the umask.
	Mode os.FileMode
}

var _ net.Addr = Address{}

// Unset reports that neither a port nor a path is given.
func (a Address) Unset() bool { return a.Port == 0 && a.Path == "" }

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
