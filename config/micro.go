package config

import (
	"os"
	"strings"
)

// Micro is a listener for applications made with Micro, whose messages name the
// service that each is for.
type Micro struct {
	// Bind is on loopback or a unix socket unless RemoteClients is set.
	Bind Address
	// RemoteClients is set if Bind may be an address that other machines reach.
	RemoteClients bool
	// HostNames are names of the proxy under which requests may be sent.
	HostNames []string
	// Allow has the names of services that may be called; DestinationList says how
	// they are written. Empty allows none; nil is a mistake.
	Allow []string
	// Register has the names of services that applications may register, written as
	// in Allow. Empty allows none.
	Register []string
	// Topics has those that applications may publish and subscribe to; TopicList
	// says how they are written. Empty allows none.
	Topics []string
	// ReceiveEvents has what other services send to the public listener be events
	// for those who subscribe here; there is no local address then.
	ReceiveEvents bool
	// Namespace comes before the names of services in paths; empty means
	// DefaultMicroNamespace, and "-" none.
	Namespace string
	// Handler says what a request with a path is; empty means MicroRPC.
	Handler MicroHandler
	// MaxConnections is the most clients at a time; zero means no limit.
	MaxConnections int
	// Server is the application that is registered with the agent, and checked.
	// Without a name there is none; with one, Bind may be unset.
	Server MicroServer
}

// DefaultMicroNamespace is that of Micro's own sidecar.
const DefaultMicroNamespace = "go.micro.srv"

// MicroHandler is what becomes of HTTP requests whose paths name services.
type MicroHandler string

const (
	// MicroRPC makes a call of each.
	MicroRPC MicroHandler = "rpc"
	// MicroProxy passes each on as it is.
	MicroProxy MicroHandler = "proxy"
)

// microKeys stand in the block micro.
var microKeys = keys[Micro]{
	"bind_address":     into(func(m *Micro) *string { return &m.Bind.Host }, value.host),
	"bind_port":        into(func(m *Micro) *int { return &m.Bind.Port }, value.count),
	"bind_socket_path": into(func(m *Micro) *string { return &m.Bind.Path }, value.text),
	"bind_socket_mode": into(func(m *Micro) *os.FileMode { return &m.Bind.Mode }, value.fileMode),
	"remote_clients":   into(func(m *Micro) *bool { return &m.RemoteClients }, value.yesNo),
	"host_names":       into(func(m *Micro) *[]string { return &m.HostNames }, value.texts),
	"allow":            into(func(m *Micro) *[]string { return &m.Allow }, value.texts),
	"register":         into(func(m *Micro) *[]string { return &m.Register }, value.texts),
	"topics":           into(func(m *Micro) *[]string { return &m.Topics }, value.texts),
	"receive_events":   into(func(m *Micro) *bool { return &m.ReceiveEvents }, value.yesNo),
	"namespace":        into(func(m *Micro) *string { return &m.Namespace }, value.text),
	"handler":          into(func(m *Micro) *MicroHandler { return &m.Handler }, named[MicroHandler]),
	"max_connections":  counted(func(m *Micro) *int { return &m.MaxConnections }),
	"server_name":      into(func(m *Micro) *string { return &m.Server.Name }, value.text),
	"server_address":   into(func(m *Micro) *Address { return &m.Server.Address }, value.address),
	"healthcheck_url":  into(func(m *Micro) *string { return &m.Server.HealthCheckURL }, value.text),
}

func (c *Config) micro() *Micro {
	if c.Micro == nil {
		c.Micro = &Micro{}
	}
	return c.Micro
}

func (m Micro) withDefaults() Micro {
	m.Bind = m.Bind.onLoopback()
	if m.Namespace == "" {
		m.Namespace = DefaultMicroNamespace
	}
	if m.Handler == "" {
		m.Handler = MicroRPC
	}
	return m
}

func (v *checks) micro(m Micro) {
	const field = "micro."
	if m.Listens() || m.Server.Name == "" || len(m.Allow) > 0 || len(m.Register) > 0 || len(m.Topics) > 0 {
		v.clients(field, m.Bind, m.RemoteClients, "calls services as this one")
		v.requireList(field+"allow", m.Allow)
	}
	v.destinations(field+"allow", m.Allow)
	v.destinations(field+"register", m.Register)
	for _, name := range m.Register {
		if strings.Contains(name, "@") || strings.HasSuffix(strings.ToLower(name), ".query") {
			v.addMistake(field+"register", quoted(name), "only services of the agent's own datacenter can be registered")
		}
	}
	if _, err := NewTopicList(m.Topics); err != nil {
		v.addMistake(field+"topics", "", err.Error())
	}
	if m.ReceiveEvents && len(m.Topics) == 0 {
		v.addMistake(field+"receive_events", "true", "no topic is allowed: name them in topics")
	}
	v.microPaths(field, m.Namespace, m.Handler)
	v.hostNames(field+"host_names", m.HostNames)
	v.count(field+"max_connections", m.MaxConnections)
}

// microPaths checks what paths mean.
func (v *checks) microPaths(field, namespace string, handler MicroHandler) {
	if namespace != "" && namespace != "-" && checkDestination(namespace) != nil {
		v.addMistake(field+"namespace", quoted(namespace), `not the beginning of names, such as "go.micro.srv"; "-" is none`)
	}
	switch handler {
	case "", MicroRPC, MicroProxy:
	default:
		v.addMistake(field+"handler", quoted(string(handler)), `use "rpc" or "proxy"`)
	}
}
