package connectproxy

import (
	"maps"
	"slices"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/edge"
)

// state is what the loop knows and runs. The loop owns one and publishes copies
// of it, which do not change: everyone else reads the latest.
type state struct {
	started       time.Time
	config        *config.Config // nil before the first
	since         time.Time      // when config took effect
	configProblem string         // why nothing newer is in force
	draining      bool

	desired desired
	// principals are in the order of desired.identities; the first is the
	// service's own.
	principals []*principal
	authorizer *runningAuthorizer // nil without a public listener
	listeners  map[key]*boundListener
	retired    []*boundListener // closed sockets whose last connections go on
	// secured is what secures strangers' connections; nil without an edge.
	secured *edge.Terminator
	// openProblems is why a listener, or where it leads to, could not be opened.
	openProblems map[key]string
}

// copy returns a state that shares nothing with s that the loop writes to. With an
// earlier copy it shares its listeners where they are the same.
func (s *state) copy(earlier *state) *state {
	c := *s
	c.principals = slices.Clone(s.principals)
	if earlier != nil && maps.Equal(earlier.listeners, s.listeners) {
		c.listeners = earlier.listeners
	} else {
		c.listeners = maps.Clone(s.listeners)
	}
	c.retired = slices.Clone(s.retired)
	c.openProblems = maps.Clone(s.openProblems)
	return &c
}

// principal returns the one of that name, or nil.
func (s *state) principal(name string) *principal {
	for _, p := range s.principals {
		if p.name == name {
			return p
		}
	}
	return nil
}

// all lists every listener, those among them that take no new connections.
func (s *state) all() []*boundListener {
	all := make([]*boundListener, 0, len(s.listeners)+len(s.retired))
	return append(slices.AppendSeq(all, maps.Values(s.listeners)), s.retired...)
}
