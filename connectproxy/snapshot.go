package connectproxy

import (
	"cmp"
	"slices"
	"time"
)

// Status returns a snapshot. It is safe at any time and from any goroutine.
func (p *Proxy) Status() Status {
	now := time.Now()
	p.mu.Lock()
	s := Status{Draining: p.draining, Listeners: []ListenerStatus{}}
	if !p.started.IsZero() {
		s.UptimeSeconds = seconds(now.Sub(p.started))
	}
	v := vital{draining: p.draining, configured: p.config != nil}
	if c := p.config; c != nil {
		s.Config = ConfigStatus{
			Mode: c.Mode, ProxyID: c.ProxyID, Service: c.Service, ServiceID: c.ServiceID,
			Namespace: c.Namespace, Partition: c.Partition,
			TLSRecords: c.TLS.Records, TLSKeyExchange: c.TLS.KeyExchange,
			AgeSeconds: seconds(now.Sub(p.since)), Warnings: c.Warnings,
		}
	}
	s.Config.Problem = cmp.Or(p.configProblem, p.o.Source.Problem())
	duty, next := p.duty, p.next
	var authorizer *authorizer
	if duty != nil {
		authorizer = duty.authorizer
	}
	specs := p.plan.specs
	members := make(map[key]*member, len(p.members))
	for k, m := range p.members {
		members[k] = m
	}
	leaving := slices.Clone(p.leaving)
	p.mu.Unlock()

	// What follows takes the locks of others.
	p.surroundings(&s)
	v.configProblem = s.Config.Problem
	if duty != nil {
		id := duty.identity.Status()
		s.Identity, v.identity = &id, duty.problem()
	}
	if next != nil && v.identity == "" {
		v.identity = next.problem()
	}
	if authorizer != nil {
		a := authorizer.Status()
		s.Authorizer = &a
	}
	for _, want := range specs {
		if m := members[want.key]; m != nil {
			s.Listeners = append(s.Listeners, m.status(now))
		} else {
			v.waiting = append(v.waiting, want)
		}
	}
	for _, m := range leaving {
		s.Listeners = append(s.Listeners, m.status(now))
	}
	v.listeners = s.Listeners
	s.Reasons = v.reasons()
	s.Ready = len(s.Reasons) == 0
	return s
}

// surroundings fills in what is known outside of the engine.
func (p *Proxy) surroundings(s *Status) {
	if p.o.LogDropped != nil {
		s.LogLinesDropped = p.o.LogDropped()
	}
	if p.o.Agent != nil {
		a := p.o.Agent()
		s.Agent = &a
	}
}
