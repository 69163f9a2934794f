package catalog

import (
	"slices"
	"time"

	"connect-proxy/upstream"
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

// compiledChain is where a destination leads: to the first of its targets that
// has healthy instances. Nobody alters one.
type compiledChain struct {
	targets []target
	// found says that the targets are a discovery chain's rather than the bare
	// name, and written that an operator wrote something into that chain.
	found, written bool
}

func (c compiledChain) equal(o compiledChain) bool {
	return c.found == o.found && c.written == o.written && slices.Equal(c.targets, o.targets)
}

// asks reports whether one of the targets needs the answer to q.
func (c compiledChain) asks(q question) bool {
	return slices.ContainsFunc(c.targets, func(t target) bool { return t.question == q })
}

// names are the targets' for logs, in order.
func (c compiledChain) names() []string {
	names := make([]string, len(c.targets))
	for i, t := range c.targets {
		names[i] = t.id
	}
	return names
}

// withTarget is the set of what the agent says of t's instances, with what the
// chain says of t.
func withTarget(s upstream.Set, t target) upstream.Set {
	s.ConnectTimeout = t.timeout
	if t.sni != "" {
		s.Endpoints = slices.Clone(s.Endpoints)
		for i := range s.Endpoints {
			s.Endpoints[i].SNI = t.sni
		}
	}
	return s
}
