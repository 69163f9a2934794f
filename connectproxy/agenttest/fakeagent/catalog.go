package fakeagent

import (
	"net/http"
	"slices"
)

// Instance is one instance of a service that can be reached over Connect: a
// sidecar proxy, on a node.
type Instance struct {
	// Service is the name of the service behind the proxy.
	Service string
	// ID is the proxy's; empty is the service's name with "-sidecar-proxy".
	ID string
	// Node is the node's name; empty is "node-1". NodeAddress is its address;
	// empty is 127.0.0.1.
	Node, NodeAddress string
	// Address is the proxy's own; empty leaves the node's to be used.
	Address string
	Port    int
	Tags    []string
	// Weight is for passing instances; zero is 1.
	Weight int
	// Status of the proxy's check; empty is "passing".
	Status string
	// Datacenter is the node's; empty is the agent's.
	Datacenter string
	// Namespace and Partition are those of Consul Enterprise; empty leaves
	// them out.
	Namespace, Partition string
	// Native is an instance that speaks Connect itself, without a proxy.
	Native bool
}

type catalogEntry struct {
	instances []Instance
	index     uint64
}

// Query is what a prepared query answers.
type Query struct {
	// Service is the name of the service that it found; Datacenter is where,
	// empty for the agent's own, and Failovers how many it tried before.
	Service    string
	Datacenter string
	Failovers  int
	Instances  []Instance
}

// SetInstances sets all instances of a service.
func (a *Agent) SetInstances(service string, instances ...Instance) {
	a.change(func() {
		a.catalog[service] = catalogEntry{instances: slices.Clone(instances), index: a.index}
	})
}

// SetQuery sets what a prepared query answers, by its name or ID.
func (a *Agent) SetQuery(name string, q Query) {
	a.change(func() { a.queries[name] = q })
}

// DeleteQuery removes a prepared query.
func (a *Agent) DeleteQuery(name string) {
	a.change(func() { delete(a.queries, name) })
}

func (a *Agent) healthAnswer(r *http.Request, _ question) answer {
	entry, known := a.catalog[r.PathValue("service")]
	if !known {
		entry.index = a.index
	}
	_, passing := r.URL.Query()["passing"]
	body := []map[string]any{}
	for _, i := range entry.instances {
		if !passing || i.Status == "" || i.Status == "passing" {
			body = append(body, a.entry(i, entry.index))
		}
	}
	return answer{body: body, index: entry.index, headers: headers{meta: true, consistency: true}}
}

func (a *Agent) queryAnswer(r *http.Request, _ question) answer {
	q, known := a.queries[r.PathValue("name")]
	if !known {
		unknown := answer{status: http.StatusNotFound, text: "Query not found"}
		if !a.managed {
			unknown.index, unknown.headers.meta = 1, true
		}
		return unknown
	}
	nodes := []map[string]any{}
	for _, i := range q.Instances {
		nodes = append(nodes, a.entry(i, a.index))
	}
	if q.Datacenter == "" {
		q.Datacenter = a.dc
	}
	body := map[string]any{
		"Service":          q.Service,
		"Nodes":            nodes,
		"DNS":              map[string]any{"TTL": ""},
		"Datacenter":       q.Datacenter,
		"Failovers":        q.Failovers,
		"Index":            0,
		"LastContact":      0,
		"KnownLeader":      true,
		"ConsistencyLevel": "leader",
	}
	if !a.managed {
		for key, value := range map[string]any{
			"PeerName": "", "Index": 1, "NotModified": false, "Backend": 0, "ResultsFilteredByACLs": false,
		} {
			body[key] = value
		}
	}
	// The index of a prepared query's answer is always 1: it never blocks.
	return answer{body: body, index: 1, headers: headers{meta: true, consistency: true}}
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
