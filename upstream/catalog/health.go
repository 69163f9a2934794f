package catalog

import (
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// remember is for how long an instance that was healthy may be without checks that
// have run: three times the interval of the check that Consul gives a sidecar. It
// begins with the first answer that does not call it healthy: an agent that has not
// answered for minutes has not run checks either.
const remember = 30 * time.Second

// lastHealthy is since when instances that were healthy have not been called so, by
// ID: zero for those that are. It holds those of the last answer and of the time of
// remember before it.
type lastHealthy map[string]time.Time

// lostAny reports whether an instance that was healthy is not among those listed.
func (m lastHealthy) lostAny(all []*listed) bool {
	here := 0
	for _, l := range all {
		if _, known := m[l.id]; known {
			here++
		}
	}
	return here < len(m)
}

// instanceID is empty for an entry without a node or a service.
func instanceID(e *api.ServiceEntry) string {
	if e == nil || e.Node == nil || e.Service == nil {
		return ""
	}
	return e.Node.Node + "/" + e.Service.ID
}

// keepHealthy keeps the instances that take connections. With judged the agent has
// left out all that do not pass.
//
// An agent that restarts, or that reads its configuration anew in Consul 1.5,
// calls every instance on its node critical until it has run their checks, ten
// seconds later by default. That is no news of the instance: one that was
// healthy before counts as healthy until a check of it has run, which the agent
// tells at once.
func (s *serviceResolver) keepHealthy(all []*listed, judged bool, now time.Time) []*listed {
	if s.healthy == nil && len(all) > 0 {
		s.healthy = lastHealthy{}
	}
	for id, at := range s.healthy {
		if at.IsZero() {
			s.healthy[id] = now // unless it is below
		}
	}
	kept := all[:0]
	for _, l := range all {
		state := l.state
		if judged {
			state = passing
		}
		switch {
		case l.id == "": // its problem says what is wrong with it
		case state == failing:
			delete(s.healthy, l.id)
			continue
		case state == checksPending:
			if at, known := s.healthy[l.id]; !known || now.Sub(at) > remember {
				continue
			}
		default:
			s.healthy[l.id] = time.Time{}
		}
		kept = append(kept, l)
	}
	s.steady = true
	for id, at := range s.healthy {
		switch {
		case at.IsZero():
		case now.Sub(at) > remember:
			delete(s.healthy, id)
		default:
			s.steady = false // it is kept for a time only
		}
	}
	return kept
}

// checksState is what the checks of an instance and of its node say together.
type checksState int

const (
	passing       checksState = iota
	checksPending             // one has not run yet
	failing
)

// assess reads an entry's checks. With warning those that warn pass.
func assess(e *api.ServiceEntry, warning bool) checksState {
	if e == nil {
		return passing
	}
	all := passing
	for _, c := range e.Checks {
		switch {
		case c == nil || c.Status == api.HealthPassing || c.Status == api.HealthWarning && warning:
		case c.Status == api.HealthCritical && c.Output == "" && !declared(c):
			all = max(all, checksPending)
		default:
			return failing
		}
	}
	return all
}

// declared reports whether a check is one that somebody sets rather than the
// agent runs, which is news without words too: maintenance, and an application's own report.
func declared(c *api.HealthCheck) bool {
	return c.Type == "ttl" || c.Type == "maintenance" ||
		c.CheckID == api.NodeMaint || strings.HasPrefix(c.CheckID, api.ServiceMaintPrefix)
}
