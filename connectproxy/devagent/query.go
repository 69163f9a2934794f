package devagent

import (
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"
)

// query is a prepared query.
type query struct {
	definition        api.PreparedQueryDefinition
	created, modified uint64
}

// queryView shows a query with what the version that is played has more.
func (a *Agent) queryView(q *query) map[string]any {
	v := object(q.definition)
	v["CreateIndex"], v["ModifyIndex"] = q.created, q.modified
	if s, ok := v["Service"].(map[string]any); ok && !a.o.Managed {
		s["Peer"] = ""
	}
	return v
}

// readQuery reads a definition, or says what is wrong with it.
func (a *Agent) readQuery(r *http.Request) (api.PreparedQueryDefinition, answer, bool) {
	var d api.PreparedQueryDefinition
	if problem, ok := a.decode(r, &d); !ok {
		return d, problem, false
	}
	refuse := func(text string) (api.PreparedQueryDefinition, answer, bool) {
		return d, answer{status: http.StatusBadRequest, text: text}, false
	}
	switch {
	case d.Service.Service == "":
		return d, answer{status: http.StatusInternalServerError, text: "Invalid prepared query: Must provide a Service name to query"}, false
	case len(d.Name) > maxName || len(d.Service.Service) > maxName:
		return refuse("a name is too long")
	case d.Template.Type != "":
		return refuse("this agent knows no templates of queries")
	case d.Session != "":
		return refuse("this agent knows no sessions")
	case d.Service.SamenessGroup != "":
		return refuse("this agent knows no sameness groups")
	}
	return d, answer{}, true
}

func (a *Agent) createQuery(r *http.Request) answer {
	d, problem, ok := a.readQuery(r)
	switch {
	case !ok:
		return problem
	case len(a.queries) >= maxQueries:
		return full("prepared queries")
	case d.Name != "" && a.queryNamed(d.Name) != nil:
		return a.sameName(d.Name)
	}
	d.ID = newUUID()
	index := a.next()
	a.queries[d.ID] = &query{definition: d, created: index, modified: index}
	return answer{body: map[string]string{"ID": d.ID}}
}

func (a *Agent) putQuery(r *http.Request) answer {
	was := a.queries[r.PathValue("id")]
	if was == nil {
		return answer{status: http.StatusInternalServerError, text: "Cannot modify non-existent prepared query: '" + r.PathValue("id") + "'"}
	}
	d, problem, ok := a.readQuery(r)
	if !ok {
		return problem
	}
	if other := a.queryNamed(d.Name); d.Name != "" && other != nil && other != was {
		return a.sameName(d.Name)
	}
	d.ID = was.definition.ID
	a.queries[d.ID] = &query{definition: d, created: was.created, modified: a.next()}
	return answer{}
}

func (a *Agent) deleteQuery(r *http.Request) answer {
	if _, ok := a.queries[r.PathValue("id")]; ok {
		delete(a.queries, r.PathValue("id"))
		a.next()
	}
	return answer{}
}

func (a *Agent) listQueries(*http.Request) answer {
	all := []map[string]any{}
	for _, id := range slices.Sorted(maps.Keys(a.queries)) {
		all = append(all, a.queryView(a.queries[id]))
	}
	return answer{body: all, index: a.index, headers: headers{meta: true, consistency: true}}
}

func (a *Agent) getQuery(r *http.Request) answer {
	q := a.queries[r.PathValue("id")]
	if q == nil {
		return a.noQuery()
	}
	return answer{body: []map[string]any{a.queryView(q)}, index: q.modified, headers: headers{meta: true, consistency: true}}
}

func (a *Agent) sameName(name string) answer {
	text := "name '" + name + "' aliases an existing query name"
	if !a.o.Managed {
		text = "raft apply failed: " + text
	}
	return answer{status: http.StatusInternalServerError, text: text}
}

// noQuery is the answer about one that is not there.
func (a *Agent) noQuery() answer {
	unknown := answer{status: http.StatusNotFound, text: "Query not found"}
	if !a.o.Managed {
		unknown.index, unknown.headers = 1, headers{meta: true, leaderless: true}
	}
	return unknown
}

func (a *Agent) queryNamed(name string) *query {
	for _, q := range a.queries {
		if q.definition.Name == name {
			return q
		}
	}
	return nil
}

// requestedQuery is the query that a request names, by its ID or its name.
func (a *Agent) requestedQuery(r *http.Request) *query {
	id := r.PathValue("id")
	if q := a.queries[id]; q != nil {
		return q
	}
	return a.queryNamed(id)
}

func (a *Agent) executeQuery(r *http.Request) answer {
	q := a.requestedQuery(r)
	if q == nil {
		return a.noQuery()
	}
	if problem, ok := a.here(r); !ok {
		return problem
	}
	limit := 0
	if text := r.URL.Query().Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil {
			return answer{status: http.StatusInternalServerError, text: "Bad limit: " + err.Error()}
		}
	}
	connect, err := flagged(r, "connect")
	if err != nil {
		return answer{status: http.StatusInternalServerError, text: "Error parsing 'connect' value: " + err.Error()}
	}
	nodes := a.found(q.definition.Service, connect)
	if limit > 0 && len(nodes) > limit {
		nodes = nodes[:limit]
	}
	body := a.queryMeta()
	body["Service"], body["Nodes"] = q.definition.Service.Service, nodes
	body["DNS"] = map[string]any{"TTL": q.definition.DNS.TTL}
	body["Datacenter"], body["Failovers"] = a.o.Datacenter, 0
	if !a.o.Managed {
		body["PeerName"] = ""
	}
	// The index of a query's answer is always 1: it never blocks.
	return answer{body: body, index: 1, headers: headers{meta: true, consistency: true, cached: r.URL.Query().Has("cached")}}
}

// queryMeta is what the answers of queries say of themselves.
func (a *Agent) queryMeta() map[string]any {
	m := map[string]any{"Index": 0, "LastContact": 0, "KnownLeader": true, "ConsistencyLevel": "leader"}
	if !a.o.Managed {
		m["Index"], m["NotModified"], m["Backend"], m["ResultsFilteredByACLs"] = 1, false, 0, false
	}
	return m
}

// found are the instances that a query is about: without its critical ones, in
// an order by chance, since there is but one node to be near to.
func (a *Agent) found(q api.ServiceQuery, connect bool) []entryView {
	nodes := []entryView{}
	for _, s := range a.sortedServices() {
		match := strings.EqualFold(s.reg.Name, q.Service)
		if connect || q.Connect {
			match = s.represents(q.Service)
		}
		if !match || !wanted(s, q) {
			continue
		}
		e := a.entry(s)
		bad := slices.ContainsFunc(e.Checks, func(c checkView) bool {
			ignored := slices.Contains(q.IgnoreCheckIDs, c.CheckID)
			return !ignored && (c.Status == critical || q.OnlyPassing && c.Status != passing)
		})
		if !bad {
			nodes = append(nodes, e)
		}
	}
	rand.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	return nodes
}

// wanted reports whether an instance has the tags and the metadata that a query
// asks for.
func wanted(s *service, q api.ServiceQuery) bool {
	for _, tag := range q.Tags {
		name, without := strings.CutPrefix(tag, "!")
		if hasTags(s, []string{name}) == without {
			return false
		}
	}
	for key, value := range q.ServiceMeta {
		if s.reg.Meta[key] != value {
			return false
		}
	}
	return len(q.NodeMeta) == 0 // this node has none
}

func (a *Agent) explainQuery(r *http.Request) answer {
	q := a.requestedQuery(r)
	if q == nil {
		return a.noQuery()
	}
	body := a.queryMeta()
	body["Query"] = a.queryView(q)
	return answer{body: body, index: 1, headers: headers{meta: true, consistency: true}}
}
