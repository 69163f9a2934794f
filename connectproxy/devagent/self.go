package devagent

import "net/http"

// The versions whose words are spoken.
const (
	managedVersion = "1.5.3"
	modernVersion  = "1.15.4"
)

func (a *Agent) getSelf(*http.Request) answer {
	version := modernVersion
	if a.o.Managed {
		version = managedVersion
	}
	return answer{body: map[string]any{
		"Config": map[string]any{
			"Datacenter": a.o.Datacenter,
			"NodeName":   a.o.Node,
			"NodeID":     a.nodeID,
			"Revision":   "",
			"Server":     true,
			"Version":    version,
		},
		"Member": map[string]any{"Name": a.o.Node, "Addr": loopback},
		"Meta":   map[string]any{"connect-proxy": "dev"},
	}}
}

// getLeader names a server, so that clients that wait for one go on.
func (a *Agent) getLeader(*http.Request) answer { return answer{body: loopback + ":8300"} }

func (a *Agent) catalogDatacenters(*http.Request) answer {
	return answer{body: []string{a.o.Datacenter}}
}

// loopback is the node's address.
const loopback = "127.0.0.1"
