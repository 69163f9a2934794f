package devagent

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"
)

// What a check may say.
const (
	passing  = api.HealthPassing
	warning  = api.HealthWarning
	critical = api.HealthCritical
)

// leastDeregister is the shortest time after which a critical service goes.
const leastDeregister = time.Minute

// check is what the agent knows of one check of a service.
type check struct {
	id, name, notes string
	// kind is Consul's word: ttl, tcp, http, alias, maintenance.
	kind           string
	status, output string
	service        string // its ID

	// ttl is how long a status that was reported holds, until deadline.
	ttl      time.Duration
	deadline time.Time
	// alias is the ID of the service whose status this one has.
	alias string
	// probe is how the agent looks itself; nil where it does not.
	probe *probe
	// deregister is after how long in a critical state the service goes, since
	// when it has been in one; zero is never.
	deregister time.Duration
	since      time.Time

	created, modified uint64
}

// putCheck stores a check; one that is there already keeps what it said last.
func (a *Agent) putCheck(c *check) {
	c.modified = a.next()
	c.created = c.modified
	a.servicesIndex = c.modified
	if was := a.checks[c.id]; was != nil {
		c.created, c.status, c.output, c.since = was.created, was.status, was.output, was.since
	}
	if c.ttl > 0 {
		c.deadline = time.Now().Add(c.ttl)
	}
	if c.status == critical && c.since.IsZero() {
		c.since = time.Now()
	}
	a.checks[c.id] = c
	a.probes.set(c.id, c.probe)
}

func (a *Agent) removeCheck(c *check) {
	delete(a.checks, c.id)
	a.probes.set(c.id, nil)
	a.servicesIndex = a.next()
}

// checksOf are the checks of a service by their IDs.
func (a *Agent) checksOf(service string) []*check {
	var found []*check
	for _, id := range slices.Sorted(maps.Keys(a.checks)) {
		if c := a.checks[id]; c.service == service {
			found = append(found, c)
		}
	}
	return found
}

func contains(checks []*check, id string) bool {
	return slices.ContainsFunc(checks, func(c *check) bool { return c.id == id })
}

// setStatus sets a check's status and output.
func (a *Agent) setStatus(c *check, status, output string) {
	c.output = output
	if c.status == status {
		return
	}
	c.status, c.since = status, time.Time{}
	if status == critical {
		c.since = time.Now()
	}
	c.modified = a.next()
	a.servicesIndex = c.modified
}

// probed sets the status that a probe found.
func (a *Agent) probed(id string, p *probe, status, output string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.checks[id]; c != nil && c.probe == p {
		a.setStatus(c, status, output)
		a.updateAliases()
	}
}

// expire does what time alone does to checks: what was not renewed is critical,
// and a service that was critical for too long goes.
func (a *Agent) expire(now time.Time) {
	settled := true
	for _, c := range a.checks {
		if c.ttl > 0 && now.After(c.deadline) && c.status != critical {
			a.setStatus(c, critical, "TTL expired")
			settled = false
		}
	}
	for _, c := range a.checks {
		if c.overdue(now) {
			a.logger.Info("deregistering a service that was critical for too long", "service", c.service)
			a.removeService(c.service)
			settled = false
		}
	}
	if !settled {
		a.updateAliases()
	}
}

func (c *check) overdue(now time.Time) bool {
	return c.deregister > 0 && c.status == critical && now.Sub(c.since) > c.deregister
}

// nextExpiry is when expire has something to do again; zero is never.
func (a *Agent) nextExpiry() time.Time {
	var next time.Time
	for _, c := range a.checks {
		var at time.Time
		switch {
		case c.ttl > 0 && c.status != critical:
			at = c.deadline
		case c.deregister > 0 && c.status == critical:
			at = c.since.Add(c.deregister)
		default:
			continue
		}
		if at = at.Add(time.Millisecond); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next
}

// updateAliases gives each alias the status of what it stands for. An alias of an
// alias follows within as many rounds.
func (a *Agent) updateAliases() {
	const rounds = 4
	for range rounds {
		before := a.index
		for _, c := range a.checks {
			if c.alias != "" {
				status, output := a.aggregate(c)
				a.setStatus(c, status, output)
			}
		}
		if a.index == before {
			return
		}
	}
}

// aggregate is the worst of what the checks of an alias's service say.
func (a *Agent) aggregate(alias *check) (status, output string) {
	if a.services[alias.alias] == nil {
		return critical, fmt.Sprintf("Service %s could not be found on node %s", alias.alias, a.o.Node)
	}
	status, output = passing, "All checks passing."
	for _, c := range a.checks {
		if c == alias || c.service != alias.alias {
			continue
		}
		if c.status == critical || c.status == warning && status == passing {
			status, output = c.status, fmt.Sprintf("Aliased check %q failing: %s", c.name, c.output)
		}
	}
	return status, output
}

// Passing reports whether a service of that ID is registered and every check of it
// passes.
func (a *Agent) Passing(service string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.checksOf(service) {
		if c.status != passing {
			return false
		}
	}
	return a.services[service] != nil
}
