package adminapi

import "time"

// Source is the proxy that is shown. Its methods are called by many goroutines
// at once; they must not block, and their results belong to the caller. Nothing
// in them is a secret.
type Source interface {
	// Proxy says who the proxy is and how it is.
	Proxy() Proxy
	// Connections lists those that are open, in any order.
	Connections() []Connection
	// CloseConnection ends the connection with that ID, and reports whether
	// there was one.
	CloseConnection(id uint64) bool
	// Upstreams lists the destinations, in the order of the configuration.
	Upstreams() []Upstream
	// Certificates are the ones in force.
	Certificates() Certificates
	// Intentions are the decisions remembered.
	Intentions() Intentions
	// Config is the configuration in force.
	Config() Config
}

// Proxy says who a proxy is and how it is.
type Proxy struct {
	// Version is the program's.
	Version string `json:"version"`
	// Service is the name of the service that the proxy represents, ServiceID and
	// ProxyID are the IDs that they are registered by, empty without registration.
	// Namespace and Partition are empty for the agent's own. Mode is managed,
	// registered, file or flags.
	Service   string `json:"service"`
	ServiceID string `json:"service_id,omitempty"`
	ProxyID   string `json:"proxy_id,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Partition string `json:"partition,omitempty"`
	Mode      string `json:"mode,omitempty"`
	// Ready is set while it serves as it should; Reasons are why not, a sentence each.
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"`
	// Warnings say, a sentence each, what is wrong that does not keep it from being
	// ready.
	Warnings []string `json:"warnings,omitempty"`
	// Draining is set once it was asked to stop.
	Draining bool `json:"draining"`
	// UptimeSeconds is the time since it began to run.
	UptimeSeconds float64 `json:"uptime_seconds"`
	// Agent is about the connection to the agent.
	Agent Agent `json:"agent"`
	// LogLinesDropped counts the lines of the log that could not be written in
	// time.
	LogLinesDropped uint64 `json:"log_lines_dropped"`
	// Listeners are never nil, but empty before there is a configuration.
	Listeners []Listener `json:"listeners"`
}

// Agent is about the connection to the local agent.
type Agent struct {
	// Address is where it is asked; empty without an agent.
	Address string `json:"address"`
	// SilentSeconds is the age of the oldest answer that could not be confirmed
	// when the agent was last asked for it; zero while it answers.
	SilentSeconds float64 `json:"silent_seconds"`
	// Problem is why it does not answer, or will not; empty if nothing is wrong.
	Problem string `json:"problem,omitempty"`
}

// Listener is one socket of the proxy.
type Listener struct {
	// Name is the listener's in the log.
	Name string `json:"name"`
	// Direction is "inbound" or "outbound".
	Direction string `json:"direction"`
	// Address is host:port, or the path of a unix socket.
	Address string `json:"address"`
	// To is where its connections go: a destination, the application's address, or
	// "what its clients name".
	To string `json:"to"`
	// Up is set while it accepts; Problem is why it does not.
	Up      bool   `json:"up"`
	Problem string `json:"problem,omitempty"`
	// Leaving is set for one that takes no new connections and waits for its
	// last.
	Leaving bool `json:"leaving,omitempty"`
	// Live counts its open connections.
	Live int `json:"live"`
}

// Connection is an open connection.
type Connection struct {
	// ID is the connection's in this process; the log has it too.
	ID uint64 `json:"id"`
	// Listener is the name of the one that took it, Direction "inbound" or
	// "outbound".
	Listener  string `json:"listener"`
	Direction string `json:"direction"`
	// Source and Destination are the services at its ends, from what they have
	// proven; Source is empty before that.
	Source      string `json:"source"`
	Destination string `json:"destination"`
	// Client is the address that called, empty on a unix socket. Peer is the SPIFFE
	// ID that the other side in the mesh has proven, empty before that.
	Client string `json:"client"`
	Peer   string `json:"peer,omitempty"`
	// Instance is the far side, "node/service-id" or an address.
	Instance        string `json:"instance,omitempty"`
	InstanceAddress string `json:"instance_address,omitempty"`
	// Phase is handshake, authorization, dial or relay.
	Phase string `json:"phase"`
	// TLSVersion is "1.2" or "1.3", empty before the handshake and without TLS.
	// Resumed is set where its session was resumed by a ticket.
	TLSVersion string `json:"tls_version,omitempty"`
	Resumed    bool   `json:"resumed,omitempty"`
	// ToDestinationBytes and ToSourceBytes are the application's bytes so far,
	// without TLS's own.
	ToDestinationBytes int64 `json:"to_destination_bytes"`
	ToSourceBytes      int64 `json:"to_source_bytes"`
	// Start is when it was accepted, AgeSeconds the time since.
	Start      time.Time `json:"start"`
	AgeSeconds float64   `json:"age_seconds"`
}

// Upstream is a destination that the application can reach.
type Upstream struct {
	// Destination is its name as the configuration's text form has it.
	Destination string `json:"destination"`
	// Address is where the application reaches it, or "by name".
	Address string `json:"address"`
	// Balance is the policy by which an instance is picked.
	Balance string `json:"balance"`
	// Problem is why it cannot be used now; empty if it can.
	Problem string `json:"problem,omitempty"`
	// Live counts its open connections.
	Live int `json:"live"`
	// Failures counts failed attempts to dial by the name of the reason, since the
	// start.
	Failures map[string]uint64 `json:"failures"`
	// Instances are those that may be dialled; never nil.
	Instances []Instance `json:"instances"`
	// Known is set once the source of the instances, which is mostly the agent,
	// has answered; AgeSeconds is the time since it last did.
	Known      bool    `json:"known"`
	AgeSeconds float64 `json:"age_seconds"`
}

// Instance is one instance of a destination.
type Instance struct {
	// ID is "node/service-id", or the address where Consul is not asked.
	ID string `json:"id"`
	// Address is host:port as it is dialled.
	Address string `json:"address"`
	// Live counts the open connections to it.
	Live int `json:"live"`
	// Failures counts the failed attempts since the last that succeeded; Error is
	// the last of them, empty where there is none.
	Failures int    `json:"failures,omitempty"`
	Error    string `json:"error,omitempty"`
	// SetAside says that the instance is only a last resort, for so much longer
	// as SetAsideSeconds; zero seconds mean that the next connection tries it.
	SetAside        bool    `json:"set_aside"`
	SetAsideSeconds float64 `json:"set_aside_seconds,omitempty"`
}

// Certificates are the proxy's own and those it trusts.
type Certificates struct {
	// SpiffeID is who the proxy proves to be and TrustDomain the mesh's; empty
	// before that is known.
	SpiffeID    string `json:"spiffe_id,omitempty"`
	TrustDomain string `json:"trust_domain,omitempty"`
	// Leaf is nil before there is one.
	Leaf *Leaf `json:"leaf"`
	// Roots are those that are trusted; never nil.
	Roots []Root `json:"roots"`
	// Problem is why no connection can be made or accepted; empty if nothing is
	// wrong.
	Problem string `json:"problem,omitempty"`
	// Changes counts the pairs of leaf and roots that have been in force.
	Changes uint64 `json:"changes"`
	// Mesh is nil before there are certificates, and where no mesh says anything.
	Mesh *MeshTLS `json:"mesh_tls,omitempty"`
	// Warnings are what will be wrong soon, or is unwise, a sentence each.
	Warnings []string `json:"warnings,omitempty"`
	// Identity is the configuration's name for one of Others, which are the
	// identities besides the first.
	Identity string         `json:"identity,omitempty"`
	Others   []Certificates `json:"others,omitempty"`
}

// MeshTLS is what the mesh configuration entry says of TLS, as it is in force.
type MeshTLS struct {
	// Known is set once the agent has answered; Error is why it does not now.
	Known bool   `json:"known"`
	Error string `json:"error,omitempty"`
	// Incoming and Outgoing are the bounds on versions and cipher suites of either
	// direction, in words; empty where there are none.
	Incoming string `json:"incoming,omitempty"`
	Outgoing string `json:"outgoing,omitempty"`
	// Problems are the bounds that cannot be kept, a sentence each.
	Problems []string `json:"problems,omitempty"`
}

// Leaf is the certificate by which the service proves itself.
type Leaf struct {
	// Serial is its serial number as Consul writes it: bytes in hexadecimal with
	// colons between.
	Serial string `json:"serial"`
	// NotBefore and NotAfter are the bounds of its validity.
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	// RemainingSeconds is the time until NotAfter; negative after it.
	RemainingSeconds float64 `json:"remaining_seconds"`
}

// Root is a root of the mesh.
type Root struct {
	// ID is the agent's for it, or the name of a CA from a file.
	ID string `json:"id"`
	// Active says that the mesh signs new leafs by it.
	Active bool `json:"active"`
	// NotAfter is the end of its validity; zero where it is not known.
	NotAfter time.Time `json:"not_after,omitzero"`
}

// Intentions are the decisions about callers.
type Intentions struct {
	// Public is set if there is a public listener, which decisions are for.
	Public bool `json:"public"`
	// ByList is set where callers are judged by the list allow, and not by Consul's
	// intentions.
	ByList bool `json:"by_list,omitempty"`
	// Decisions are those remembered, one a caller; never nil.
	Decisions []Decision `json:"decisions"`
	// Blind is set while intentions cannot be watched, and for two minutes after
	// that, so that decisions are asked for every few seconds.
	Blind bool `json:"blind"`
	// WatchProblem is why they cannot be watched now.
	WatchProblem string `json:"watch_problem,omitempty"`
	// Problem is why the agent did not give the last decision it was asked for.
	Problem string `json:"problem,omitempty"`
}

// Decision is about one caller.
type Decision struct {
	// Peer is its SPIFFE ID, Source its service.
	Peer   string `json:"peer"`
	Source string `json:"source"`
	// Known is set if there is a decision; Allowed is which, and Reason why, in the
	// words of whoever decided.
	Known   bool   `json:"known"`
	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason,omitempty"`
	// AgeSeconds is the time since the question that was answered; zero where
	// nobody has to be asked.
	AgeSeconds float64 `json:"age_seconds"`
	// Error is why the agent did not answer the last question; empty if it did.
	Error string `json:"error,omitempty"`
}

// Config is the configuration in force.
type Config struct {
	// From says where it is from, in words.
	From string `json:"from"`
	// AgeSeconds is the time since it came into force.
	AgeSeconds float64 `json:"age_seconds"`
	// Problem is why nothing newer is in force; empty where there is nothing.
	Problem string `json:"problem,omitempty"`
	// Warnings are about settings that cannot be honoured, a sentence each.
	Warnings []string `json:"warnings"`
	// SecurityWarnings are about settings that this proxy does not know and by which
	// another, such as Envoy, keeps somebody out.
	SecurityWarnings []string `json:"security_warnings"`
	// Settings are those in force, defaults included.
	Settings []Setting `json:"settings"`
}

// Setting is one key of the configuration.
type Setting struct {
	// Key is its name in a file, an upstream's behind its destination:
	// upstream.db.balance.
	Key string `json:"key"`
	// Value is as a configuration file has it, and holds no secret.
	Value string `json:"value"`
	// Origin is "default", or where the value was set.
	Origin string `json:"origin"`
}
