package upstream

import (
	"slices"
	"time"
)

// question is what the agent is asked to find the instances of a target. Two
// targets with the same question share the answer.
type question struct {
	// namespace, partition and datacenter are empty for the agent's own.
	service, namespace, partition, datacenter string
	// filter is a subset's filter expression.
	filter string
	// warning counts instances whose checks warn for healthy.
	warning bool
	// gateway says whose mesh gateways lead to the instances; empty for those
	// that are dialled directly.
	gateway gatewayMode
}

// target is one place that a destination may lead to.
type target struct {
	question
	// id names the target in logs.
	id string
	// sni is empty for the one that follows from the identity.
	sni string
	// timeout is the target's own for a connection; zero if it has none.
	timeout time.Duration
}

// plan is where a destination leads: to the first of its targets that has
// healthy instances. Nobody alters one.
type plan struct {
	targets []target
	// chained says that the targets are a discovery chain's rather than the bare
	// name, and written that an operator wrote something into that chain.
	chained, written bool
}

func (p plan) equal(o plan) bool {
	return p.chained == o.chained && p.written == o.written && slices.Equal(p.targets, o.targets)
}

// asks says whether one of the targets needs the answer to q.
func (p plan) asks(q question) bool {
	return slices.ContainsFunc(p.targets, func(t target) bool { return t.question == q })
}

// names are the targets' for logs, in order.
func (p plan) names() []string {
	names := make([]string, len(p.targets))
	for i, t := range p.targets {
		names[i] = t.id
	}
	return names
}

// dress makes the set of a target of what the agent says of its instances.
func (t target) dress(s Set) Set {
	s.ConnectTimeout = t.timeout
	if t.sni != "" {
		s.Endpoints = slices.Clone(s.Endpoints)
		for i := range s.Endpoints {
			s.Endpoints[i].SNI = t.sni
		}
	}
	return s
}
