package devagent

import (
	"net/http"
	"slices"
)

// catalogEntry is what a filter of the list of services looks at.
type catalogEntry struct {
	Node        string
	ServiceID   string
	ServiceName string
	ServiceKind string
	ServiceTags []string
}

func (a *Agent) catalogServices(r *http.Request) answer {
	if problem, ok := a.here(r); !ok {
		return problem
	}
	all := []catalogEntry{{Node: a.o.Node, ServiceID: "consul", ServiceName: "consul"}}
	for _, s := range a.sortedServices() {
		all = append(all, catalogEntry{
			Node: a.o.Node, ServiceID: s.reg.ID, ServiceName: s.reg.Name,
			ServiceKind: string(s.reg.Kind), ServiceTags: s.reg.Tags,
		})
	}
	if !a.o.Managed { // Consul 1.5 does not look at the filter
		var problem answer
		var ok bool
		if all, problem, ok = filtered(a, r, all); !ok {
			return problem
		}
	}
	names := map[string][]string{}
	for _, e := range all {
		tags := orEmpty(names[e.ServiceName])
		for _, tag := range e.ServiceTags {
			if !slices.Contains(tags, tag) {
				tags = append(tags, tag)
			}
		}
		names[e.ServiceName] = tags
	}
	return answer{
		body: names, index: a.servicesIndex,
		headers: headers{meta: true, consistency: true, cached: r.URL.Query().Has("cached")},
	}
}
