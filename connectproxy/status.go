package connectproxy

import (
	"fmt"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/watch"
)

// Status is a snapshot of the proxy, made to be encoded as JSON. It holds no
// secret. Fields are only ever added.
type Status struct {
	// Ready says whether the proxy serves as it should; Reasons why not, a
	// sentence each.
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"`
	// Draining is set from the moment the proxy was asked to stop.
	Draining bool `json:"draining"`
	// UptimeSeconds is the time since Run was called; zero before.
	UptimeSeconds float64 `json:"uptime_seconds"`
	// LogLinesDropped counts lines that nobody read in time, or that could not
	// be written.
	LogLinesDropped uint64 `json:"log_lines_dropped"`

	// Agent is nil where the engine was not told how it is reached.
	Agent  *AgentStatus `json:"agent,omitempty"`
	Config ConfigStatus `json:"config"`
	// Identity is nil before the first configuration.
	Identity *IdentityStatus `json:"identity,omitempty"`
	// Authorizer is nil where there is no public listener.
	Authorizer *AuthorizerStatus `json:"authorization,omitempty"`
	Listeners  []ListenerStatus  `json:"listeners"`
}

// AgentStatus is about the way to the local agent. What belongs to TLS is empty
// without it.
type AgentStatus struct {
	Address string `json:"address"`
	// ClientCertificateNotAfter is the end of the certificate shown to it,
	// CANotAfter that of the CA it is trusted by, CertificateNotAfter that of its
	// own, as seen at the last new connection.
	ClientCertificateNotAfter time.Time `json:"client_certificate_not_after,omitzero"`
	CANotAfter                time.Time `json:"ca_not_after,omitzero"`
	CertificateNotAfter       time.Time `json:"certificate_not_after,omitzero"`
	// Problem is why newer files on disk are not in force; empty if nothing is
	// wrong.
	Problem string `json:"problem,omitempty"`
	// Warnings name the certificates whose end is near, a sentence each.
	Warnings []string `json:"warnings,omitempty"`
}

// ConfigStatus is about the configuration in force.
type ConfigStatus struct {
	Mode      config.Mode `json:"mode,omitempty"`
	ProxyID   string      `json:"proxy_id,omitempty"`
	Service   string      `json:"service,omitempty"`
	ServiceID string      `json:"service_id,omitempty"`
	Namespace string      `json:"namespace,omitempty"`
	Partition string      `json:"partition,omitempty"`
	// TLSRecords and TLSKeyExchange are config.TLS's.
	TLSRecords     config.TLSRecords     `json:"tls_records,omitempty"`
	TLSKeyExchange config.TLSKeyExchange `json:"tls_key_exchange,omitempty"`
	// AgeSeconds is the time since it took effect.
	AgeSeconds float64 `json:"age_seconds"`
	// Problem is why nothing newer is in force; empty if nothing is wrong.
	Problem  string   `json:"problem,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// ListenerStatus is about one listener.
type ListenerStatus struct {
	Name string `json:"name"`
	// Role is "public" or "upstream".
	Role string `json:"role"`
	// Address is the one asked for; Bound the one it listens on, empty while
	// it does not.
	Address string `json:"address"`
	Bound   string `json:"bound,omitempty"`
	// To is where its connections go: an address, or a destination.
	To string `json:"to"`
	// Live counts open connections, those of a predecessor at the same place
	// not among them.
	Live int `json:"live"`
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
	// Balance is the policy in effect.
	Balance string `json:"balance"`
	// Live counts connections, those being dialled among them.
	Live int `json:"live"`
	// Failures counts failed attempts by reason.
	Failures  map[string]uint64 `json:"failures,omitempty"`
	Instances []InstanceStatus  `json:"instances"`
	Resolver  WatchStatus       `json:"watch"`
}

// InstanceStatus is about one instance of a destination.
type InstanceStatus struct {
	// ID is "node/service-id".
	ID      string `json:"id"`
	Address string `json:"address"`
	Live    int    `json:"live"`
	// Failures counts those in a row; Error is the last one, empty since the
	// last success.
	Failures int    `json:"failures,omitempty"`
	Error    string `json:"error,omitempty"`
	// SetAsideSeconds is how much longer it is only a last resort.
	SetAsideSeconds float64 `json:"set_aside_seconds,omitempty"`
}

// WatchStatus is about one value that is kept fresh.
type WatchStatus struct {
	Name string `json:"name"`
	// Has says whether there is a value; AgeSeconds is the time since the agent
	// last confirmed it.
	Has        bool    `json:"has"`
	AgeSeconds float64 `json:"age_seconds"`
	// Error is the last request's; empty when it went well.
	Error    string `json:"error,omitempty"`
	Failures int    `json:"failures,omitempty"`
}

func watchStatus(s watch.Status, now time.Time) WatchStatus {
	w := WatchStatus{Name: s.Name, Has: s.Has, Failures: s.Failures}
	if !s.Fresh.IsZero() {
		w.AgeSeconds = seconds(now.Sub(s.Fresh))
	}
	if s.Err != nil {
		w.Error = s.Err.Error()
	}
	return w
}

// seconds rounds to what a person reads.
func seconds(d time.Duration) float64 {
	return d.Round(time.Millisecond).Seconds()
}

// vital is what readiness depends on.
type vital struct {
	draining      bool
	configured    bool
	configProblem string
	identity      string // its problem
	listeners     []ListenerStatus
	// waiting are the listeners that are wanted and may not be open yet.
	waiting []spec
}

// reasons says, a sentence each, why the proxy is not ready. A configuration
// problem after the first configuration is no reason: the last good one is in
// force.
func (v vital) reasons() []string {
	out := []string{}
	if v.draining {
		out = append(out, "the proxy is draining")
	}
	if !v.configured {
		s := "no configuration yet"
		if v.configProblem != "" {
			s += ": " + v.configProblem
		}
		return append(out, s)
	}
	if v.identity != "" {
		out = append(out, v.identity)
	}
	for _, l := range v.listeners {
		switch {
		case l.Leaving:
		case l.Problem != "":
			out = append(out, fmt.Sprintf("listener %s (%s): %s", l.Name, l.Address, l.Problem))
		case l.Bound == "":
			out = append(out, fmt.Sprintf("listener %s (%s): not bound yet", l.Name, l.Address))
		}
	}
	for _, s := range v.waiting {
		out = append(out, fmt.Sprintf("listener %s (%s): closed until there is a valid leaf certificate", s.name, s.bind))
	}
	return out
}
