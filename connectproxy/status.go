package connectproxy

import (
	"fmt"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agent"
	"connect-proxy/connectproxy/authorize"
	"connect-proxy/connectproxy/identity"
	"connect-proxy/upstream/watch"
)

// Status is a snapshot of the proxy, made to be encoded as JSON. It holds no
// secret. Fields are only ever added.
type Status struct {
	// Ready is set while the proxy serves as it should.
	Ready bool `json:"ready"`
	// Reasons say why it does not, a sentence each; empty while it does.
	Reasons []string `json:"reasons"`
	// Warnings say, a sentence each, what is wrong that does not keep it from being
	// ready: certificates of the edge that there are not, and settings that give
	// much away.
	Warnings []string `json:"warnings,omitempty"`
	// Draining is set from the moment the proxy was asked to stop.
	Draining bool `json:"draining"`
	// UptimeSeconds is the time since Run was called; zero before.
	UptimeSeconds float64 `json:"uptime_seconds"`
	// LogLinesDropped counts lines that nobody read in time, or that could not
	// be written.
	LogLinesDropped uint64 `json:"log_lines_dropped"`
	// AccessLogDropped counts records of the access log that could not be
	// written in time.
	AccessLogDropped uint64 `json:"access_log_dropped"`
	// AccessLogProblem is why none can be written at the moment; empty if nothing
	// is wrong.
	AccessLogProblem string `json:"access_log_problem,omitempty"`

	// Agent is nil without Options.Agent.
	Agent *agent.Status `json:"agent,omitempty"`
	// Config is empty before the first configuration.
	Config ConfigStatus `json:"config"`
	// Identity is the first of the configuration, which is the service's own where
	// that is Consul's; nil before the first configuration.
	Identity *identity.Status `json:"identity,omitempty"`
	// OtherIdentities are those of the configuration besides.
	OtherIdentities []IdentityStatus `json:"other_identities,omitempty"`
	// Authorizer is nil where there is no public listener.
	Authorizer *authorize.Status `json:"authorization,omitempty"`
	// Listeners are those that are wanted and those that wait for their last
	// connections.
	Listeners []ListenerStatus `json:"listeners"`
	// Dynamic are the destinations in use that were named at run time.
	Dynamic []DynamicStatus `json:"dynamic_upstreams,omitempty"`
}

// IdentityStatus is about an identity besides the first.
type IdentityStatus struct {
	// Name is the configuration's for it.
	Name string `json:"name"`
	identity.Status
}

// ConfigStatus is about the configuration in force.
type ConfigStatus struct {
	// Mode, and what follows up to Partition, are config.Config's.
	Mode config.Mode `json:"mode,omitempty"`
	// ProxyID is the proxy's registration; empty without one.
	ProxyID string `json:"proxy_id,omitempty"`
	// Service is the name of the service that is represented.
	Service string `json:"service,omitempty"`
	// ServiceID is its instance; empty where none is named.
	ServiceID string `json:"service_id,omitempty"`
	// Namespace is the service's; empty for the default.
	Namespace string `json:"namespace,omitempty"`
	// Partition is the service's; empty for the default.
	Partition string `json:"partition,omitempty"`
	// TLSRecords is config.TLS's.
	TLSRecords config.TLSRecords `json:"tls_records,omitempty"`
	// TLSKeyExchange is config.TLS's.
	TLSKeyExchange config.TLSKeyExchange `json:"tls_key_exchange,omitempty"`
	// AgeSeconds is the time since it took effect.
	AgeSeconds float64 `json:"age_seconds"`
	// Problem is why nothing newer is in force; empty if nothing is wrong.
	Problem string `json:"problem,omitempty"`
	// Warnings name settings that were read and are not honoured, a sentence each.
	Warnings []string `json:"warnings,omitempty"`
	// SecurityWarnings are about settings that keep somebody out elsewhere.
	SecurityWarnings []string `json:"security_warnings,omitempty"`
}

// ListenerStatus is about one listener.
type ListenerStatus struct {
	// Name is what logs and metrics call it.
	Name string `json:"name"`
	// Role is "public", "upstream", or "internal" for what connects the proxy's
	// own front ends to destinations that are named at run time.
	Role string `json:"role"`
	// Address is the one asked for.
	Address string `json:"address"`
	// Bound is the one it listens on; empty while it does not.
	Bound string `json:"bound,omitempty"`
	// To is where its connections go: an address, or a destination.
	To string `json:"to"`
	// Live counts open connections, those of a predecessor at the same place
	// not among them.
	Live int `json:"live"`
	// Handshakes counts those among them whose client has not proved who it is.
	Handshakes int `json:"handshakes,omitempty"`
	// Authorizations counts those that have and wait for a decision.
	Authorizations int `json:"authorizations,omitempty"`
	// OverLimit counts the connections that were refused since the listener began
	// because as many as allowed were open.
	OverLimit uint64 `json:"over_limit,omitempty"`
	// Leaving is set for a listener that takes no new connections and waits
	// for its last ones.
	Leaving bool `json:"leaving,omitempty"`
	// Problem is why it is not listening or accepting; empty if nothing is
	// wrong.
	Problem string `json:"problem,omitempty"`
	// Upstream is nil for the public listener.
	Upstream *UpstreamStatus `json:"upstream,omitempty"`
}

// UpstreamStatus is about what an upstream listener leads to.
type UpstreamStatus struct {
	// DestinationType says how its instances are found.
	DestinationType config.DestinationType `json:"destination_type"`
	// Balance is the policy in effect.
	Balance string `json:"balance"`
	// Live counts connections, those being dialled among them.
	Live int `json:"live"`
	// Connected counts the attempts that succeeded.
	Connected uint64 `json:"connected"`
	// Failures counts the others by reason.
	Failures map[string]uint64 `json:"failures,omitempty"`
	// SetAside counts how often an instance was set aside.
	SetAside uint64 `json:"set_aside"`
	// SetAsideFor is the same by reason.
	SetAsideFor map[string]uint64 `json:"set_aside_for,omitempty"`
	// Instances are those that there are now.
	Instances []InstanceStatus `json:"instances"`
	// Resolver says how fresh Instances is.
	Resolver watch.Freshness `json:"watch"`
}

// InstanceStatus is about one instance of a destination.
type InstanceStatus struct {
	// ID is "node/service-id".
	ID string `json:"id"`
	// Address is host:port.
	Address string `json:"address"`
	// Live counts its connections, those being dialled among them.
	Live int `json:"live"`
	// Failures counts those in a row.
	Failures int `json:"failures,omitempty"`
	// Error is the last one; empty since the last success.
	Error string `json:"error,omitempty"`
	// SetAside is set while it is only a last resort.
	SetAside bool `json:"set_aside,omitempty"`
	// SetAsideSeconds is for how long it still is; with zero, the next connection
	// tries it.
	SetAsideSeconds float64 `json:"set_aside_seconds,omitempty"`
}

// readinessInput is what readiness depends on.
type readinessInput struct {
	draining      bool
	configured    bool
	configProblem string
	identities    []string // their problems; an empty one is none
	listeners     []ListenerStatus
	closed        []closedListener
}

// closedListener is a listener that is desired and not there.
type closedListener struct {
	*spec
	problem string // why it could not be opened; empty if that was not tried
}

func (c closedListener) reason() string {
	switch {
	case c.problem != "":
		return c.problem
	case c.key.role == rolePublic:
		return "closed until there is a valid leaf certificate"
	}
	return "not open yet"
}

// reasons returns, a sentence each, why the proxy is not ready. A configuration
// problem after the first configuration is no reason: the last good one is in
// force.
func (in readinessInput) reasons() []string {
	out := []string{}
	if in.draining {
		out = append(out, "the proxy is draining")
	}
	if !in.configured {
		s := "no configuration yet"
		if in.configProblem != "" {
			s += ": " + in.configProblem
		}
		return append(out, s)
	}
	for _, problem := range in.identities {
		if problem != "" {
			out = append(out, problem)
		}
	}
	for _, l := range in.listeners {
		switch {
		case l.Leaving:
		case l.Problem != "":
			out = append(out, fmt.Sprintf("listener %s (%s): %s", l.Name, l.Address, l.Problem))
		case l.Bound == "":
			out = append(out, fmt.Sprintf("listener %s (%s): not bound yet", l.Name, l.Address))
		}
	}
	for _, c := range in.closed {
		out = append(out, fmt.Sprintf("listener %s (%s): %s", c.name, c.bind, c.reason()))
	}
	return out
}
