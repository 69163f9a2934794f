package devagent

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// resolver is the service-resolver of a service: redirect, subsets, failover.
type resolver struct {
	entry *api.ServiceResolverConfigEntry
}

// connectTimeout is Consul's where an entry has none.
const connectTimeout = 5 * time.Second

// unsupported names what of an entry would be stored and not be done.
func unsupported(e *api.ServiceResolverConfigEntry) string {
	peer := e.Redirect != nil && (e.Redirect.Peer != "" || e.Redirect.SamenessGroup != "")
	for _, f := range e.Failover {
		peer = peer || f.SamenessGroup != "" ||
			slices.ContainsFunc(f.Targets, func(t api.ServiceResolverFailoverTarget) bool { return t.Peer != "" })
	}
	switch {
	case peer:
		return "this agent knows no peers"
	case e.LoadBalancer != nil:
		return "this agent knows no LoadBalancer: it is for HTTP"
	}
	return ""
}

// findProblem returns what keeps an entry from being stored, in few of Consul's words;
// empty means nothing.
func findProblem(e *api.ServiceResolverConfigEntry) string {
	if p := unsupported(e); p != "" {
		return p
	}
	known := func(subset string) bool {
		_, ok := e.Subsets[subset]
		return ok
	}
	switch {
	case e.ConnectTimeout < 0:
		return fmt.Sprintf("Bad ConnectTimeout '%s', must be >= 0", e.ConnectTimeout)
	case e.DefaultSubset != "" && !known(e.DefaultSubset):
		return fmt.Sprintf("DefaultSubset %q is not a valid subset", e.DefaultSubset)
	case e.Redirect != nil && (len(e.Failover) > 0 || len(e.Subsets) > 0 || e.DefaultSubset != ""):
		return "Redirect is incompatible with Failover, Subsets and DefaultSubset"
	case e.Redirect != nil && *e.Redirect == (api.ServiceResolverRedirect{}):
		return "Redirect is empty"
	}
	for name, s := range e.Subsets {
		if _, err := filterOf[entryView](s.Filter); err != nil {
			return fmt.Sprintf("Filter for subset %q is not a valid expression: %v", name, err)
		}
	}
	for subset, f := range e.Failover {
		if subset != wildcard && !known(subset) {
			return fmt.Sprintf("Bad Failover[%q]: not a valid subset", subset)
		}
		if f.Service == "" && f.ServiceSubset == "" && f.Namespace == "" && len(f.Datacenters) == 0 && len(f.Targets) == 0 {
			return fmt.Sprintf("Bad Failover[%q]: one of Service, ServiceSubset, Namespace, Targets, or Datacenters is required", subset)
		}
	}
	return ""
}

// putResolver stores an entry.
func (a *Agent) putResolver(e *api.ServiceResolverConfigEntry) answer {
	if problem := findProblem(e); problem != "" {
		return answer{status: http.StatusInternalServerError, text: problem}
	}
	was := a.resolvers[e.Name]
	if was == nil && len(a.resolvers) >= maxEntries {
		return full("config entries")
	}
	a.resolvers[e.Name] = &resolver{entry: e}
	if problem := a.loops(e.Name); problem != "" {
		delete(a.resolvers, e.Name)
		if was != nil {
			a.resolvers[e.Name] = was
		}
		return answer{status: http.StatusInternalServerError, text: problem}
	}
	e.ModifyIndex = a.next()
	e.CreateIndex = e.ModifyIndex
	if was != nil {
		e.CreateIndex = was.entry.CreateIndex
	}
	a.entriesIndex = e.ModifyIndex
	return answer{body: true}
}

// loops says that redirects lead back to where they began.
func (a *Agent) loops(from string) string {
	seen := map[string]bool{}
	path := []string{}
	for name := from; ; {
		path = append(path, name)
		if seen[name] {
			return "detected circular resolver redirect: " + strings.Join(path, " -> ")
		}
		seen[name] = true
		r := a.resolvers[name]
		if r == nil || r.entry.Redirect == nil || r.entry.Redirect.Datacenter != "" && r.entry.Redirect.Datacenter != a.o.Datacenter {
			return ""
		}
		if next := r.entry.Redirect.Service; next != "" {
			name = next
		}
	}
}
