package connectproxy

import (
	"cmp"
	"time"

	"connect-proxy/connectproxy/register"
	"connect-proxy/upstream/watch"
)

// Status returns a snapshot. It is safe at any time and from any goroutine.
func (p *Proxy) Status() Status {
	now, st := time.Now(), p.published.Load()
	s := Status{Draining: st.draining, Listeners: []ListenerStatus{}}
	if !st.started.IsZero() {
		s.UptimeSeconds = watch.Seconds(now.Sub(st.started))
	}
	if c := st.config; c != nil {
		s.Config = ConfigStatus{
			Mode: c.Mode, ProxyID: c.ProxyID, Service: c.Service, ServiceID: c.ServiceID,
			Namespace: c.Namespace, Partition: c.Partition,
			TLSRecords: c.TLS.Records, TLSKeyExchange: c.TLS.KeyExchange,
			AgeSeconds: watch.Seconds(now.Sub(st.since)), Warnings: c.Warnings, SecurityWarnings: c.SecurityWarnings,
		}
	}
	s.Config.Problem = p.notInForce(st)
	p.addEnvironment(&s, st)
	if len(st.principals) > 0 {
		id := st.principals[0].inUse().Status()
		s.Identity = &id
		for _, p := range st.principals[1:] {
			if p.inUse().options.Source != Plaintext {
				s.OtherIdentities = append(s.OtherIdentities, IdentityStatus{p.name, p.inUse().Status()})
			}
		}
	}
	if st.authorizer != nil {
		a := st.authorizer.Status()
		s.Authorizer = &a
	}
	s.Listeners = st.listenerStatus(now)
	s.Dynamic = p.dynamic.status(now)
	s.Reasons = p.readinessOf(st).reasons()
	s.Ready = len(s.Reasons) == 0
	s.Warnings = st.warnings()
	return s
}

// readiness is the part of Status that the loop and the registrar go by. It costs
// no more for instances and connections than for none.
func (p *Proxy) readiness() register.Readiness {
	reasons := p.readinessOf(p.published.Load()).reasons()
	return register.Readiness{Ready: len(reasons) == 0, Reasons: reasons}
}

func (p *Proxy) readinessOf(st *state) readinessInput {
	in := readinessInput{draining: st.draining, configured: st.config != nil, configProblem: p.notInForce(st)}
	for _, pr := range st.principals {
		in.identities = append(in.identities, pr.reason())
	}
	in.listeners, in.closed = st.troubledListeners()
	return in
}

// warnings are what Status.Warnings says. A CA looks at the edge before there is a
// certificate, and a load balancer would lead it there only if the proxy is ready.
func (s *state) warnings() (all []string) {
	if s.secured != nil {
		all = s.secured.Problems()
	}
	if s.config != nil {
		all = append(all, s.config.Cautions()...)
	}
	return all
}

// notInForce returns why nothing newer is in force; empty if nothing is wrong.
func (p *Proxy) notInForce(st *state) string {
	return cmp.Or(st.configProblem, p.o.Source.Problem())
}

// troubledListeners returns what there is to say of the listeners that are not
// bound, or have a problem, and those that are desired and not there.
func (s *state) troubledListeners() (troubled []ListenerStatus, closed []closedListener) {
	for _, want := range s.desired.specs {
		b, problem := s.listeners[want.key], s.openProblems[want.key]
		if b == nil {
			closed = append(closed, closedListener{want, problem})
			continue
		}
		if ls, ok := b.trouble(problem); ok {
			troubled = append(troubled, ls)
		}
	}
	return troubled, closed
}

// listenerStatus returns what there is to say of each listener.
func (s *state) listenerStatus(now time.Time) []ListenerStatus {
	open := []ListenerStatus{}
	for _, want := range s.desired.specs {
		b := s.listeners[want.key]
		if b == nil {
			continue
		}
		ls := b.status(now)
		ls.Problem = cmp.Or(ls.Problem, s.openProblems[want.key])
		open = append(open, ls)
	}
	for _, b := range s.retired {
		open = append(open, b.status(now))
	}
	return open
}

// addEnvironment fills in what is known outside of the engine.
func (p *Proxy) addEnvironment(s *Status, st *state) {
	if l := p.o.AccessLog; l != nil {
		s.AccessLogDropped = l.Dropped()
		if err := l.Problem(); err != nil {
			s.AccessLogProblem = err.Error()
		}
	}
	if p.o.LogDropped != nil {
		s.LogLinesDropped = p.o.LogDropped()
	}
	if p.o.Agent != nil && (p.registrar != nil || st.config == nil || st.config.NeedsAgent()) {
		a := p.o.Agent()
		s.Agent = &a
	}
}
