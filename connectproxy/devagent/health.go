package devagent

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// healthConnect answers with the instances through which a service is reached
// over mutual TLS.
func (a *Agent) healthConnect(r *http.Request) answer {
	name := r.PathValue("service")
	return a.health(r, func(s *service) bool { return s.represents(name) }) // ?tag means nothing here
}

// healthService answers with the instances of a service itself.
func (a *Agent) healthService(r *http.Request) answer {
	name := r.PathValue("service")
	tags := r.URL.Query()["tag"]
	return a.health(r, func(s *service) bool { return strings.EqualFold(s.reg.Name, name) && hasTags(s, tags) })
}

func (a *Agent) health(r *http.Request, which func(*service) bool) answer {
	if problem, ok := a.here(r); !ok {
		return problem
	}
	onlyPassing, err := flagged(r, "passing")
	if err != nil {
		return a.badRequest("Invalid value for ?passing")
	}
	entries := []entryView{}
	for _, s := range a.sortedServices() {
		if !which(s) {
			continue
		}
		e := a.entry(s)
		if onlyPassing && slices.ContainsFunc(e.Checks, func(c checkView) bool { return c.Status != passing }) {
			continue
		}
		entries = append(entries, e)
	}
	entries, problem, ok := filtered(a, r, entries)
	if !ok {
		return problem
	}
	// What the cache of later versions keeps up to date says nothing of a leader.
	cached := r.URL.Query().Has("cached")
	return answer{
		body: entries, index: a.servicesIndex, until: a.nextExpiry(),
		headers: headers{meta: true, consistency: true, cached: cached, leaderless: cached && !a.o.Managed},
	}
}

// here reports whether a request is about this agent's datacenter, the only one.
func (a *Agent) here(r *http.Request) (answer, bool) {
	if dc := r.URL.Query().Get("dc"); dc != "" && !strings.EqualFold(dc, a.o.Datacenter) {
		far := answer{status: http.StatusInternalServerError, text: "No path to datacenter"}
		if a.o.Managed {
			far.index, far.headers = 1, headers{meta: true, leaderless: true}
		}
		return far, false
	}
	return answer{}, true
}

// flagged reads a parameter that may stand alone.
func flagged(r *http.Request, name string) (bool, error) {
	if !r.URL.Query().Has(name) {
		return false, nil
	}
	if text := r.URL.Query().Get(name); text != "" {
		return strconv.ParseBool(text)
	}
	return true, nil
}

func hasTags(s *service, tags []string) bool {
	for _, tag := range tags {
		if !slices.ContainsFunc(s.reg.Tags, func(t string) bool { return strings.EqualFold(t, tag) }) {
			return false
		}
	}
	return true
}
