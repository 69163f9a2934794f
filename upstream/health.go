package upstream

import (
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// remember is for how long after it was last seen healthy an instance may come
// back with checks that have not run: three times the interval of the check that
// Consul gives a sidecar.
const remember = 30 * time.Second

// memory is when instances were last seen healthy, by ID. It holds those of the
// last answer and of the time of remember before it.
type memory map[string]time.Time

// misses reports whether an instance that was healthy is not among entries.
func (m memory) misses(entries []*api.ServiceEntry) bool {
	here := 0
	for _, e := range entries {
		if id, ok := instanceID(e); ok {
			if _, known := m[id]; known {
				here++
			}
		}
	}
	return here < len(m)
}

func instanceID(e *api.ServiceEntry) (string, bool) {
	if e == nil || e.Node == nil || e.Service == nil {
		return "", false
	}
	return e.Node.Node + "/" + e.Service.ID, true
}

// healthy keeps the entries that take connections.
//
// An agent that restarts, or that reads its configuration anew in Consul 1.5,
// calls every instance on its node critical until it has run their checks, ten
// seconds later by default. That is no news of the instance: one that was
// healthy before counts as healthy until a check of it has run, which the agent
// tells at once.
func (s *service) healthy(entries []*api.ServiceEntry, judge func(*api.ServiceEntry) verdict, now time.Time) []*api.ServiceEntry {
	if s.seen == nil {
		s.seen = memory{}
	}
	kept := entries[:0]
	for _, e := range entries {
		id, ok := instanceID(e)
		if !ok {
			kept = append(kept, e) // setOf says what is wrong with it
			continue
		}
		switch judge(e) {
		case sick:
			delete(s.seen, id)
			continue
		case unheard:
			if at, known := s.seen[id]; !known || now.Sub(at) > remember {
				continue
			}
		case well:
			s.seen[id] = now
		}
		kept = append(kept, e)
	}
	for id, at := range s.seen {
		if now.Sub(at) > remember {
			delete(s.seen, id)
		}
	}
	return kept
}

// verdict is what the checks of an instance and of its node say together.
type verdict int

const (
	well    verdict = iota
	unheard         // a check has not run yet
	sick
)

func passes(*api.ServiceEntry) verdict { return well }

func (s *service) verdict(e *api.ServiceEntry) verdict {
	all := well
	for _, c := range e.Checks {
		switch {
		case c == nil || c.Status == api.HealthPassing || c.Status == api.HealthWarning && s.o.Warning:
		case c.Status == api.HealthCritical && c.Output == "" && !declared(c):
			all = max(all, unheard)
		default:
			return sick
		}
	}
	return all
}

// declared is a check that somebody sets rather than the agent runs, news
// without words too: maintenance, and an application's own report.
func declared(c *api.HealthCheck) bool {
	return c.Type == "ttl" || c.Type == "maintenance" ||
		c.CheckID == api.NodeMaint || strings.HasPrefix(c.CheckID, api.ServiceMaintPrefix)
}
