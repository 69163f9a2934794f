package connectproxy

import (
	"context"
	"net"
	"slices"

	"connect-proxy/listener"
	"connect-proxy/upstream"
)

// reconcile makes what runs what is wanted. What is the same is not touched.
func (p *Proxy) reconcile(base context.Context) {
	if p.config == nil {
		return
	}
	stale, guards := p.assume(base)
	p.reap()
	if p.duty.ready() {
		p.proven = p.duty
	}
	c := diff(p.running(), p.plan.gated(p.duty.valid()))
	for _, k := range c.stopFirst {
		p.retire(base, k)
	}
	for _, s := range c.start {
		p.open(base, s)
	}
	for _, s := range c.update {
		p.change(base, s)
	}
	for _, k := range c.stop {
		p.retire(base, k)
	}
	if guards {
		p.guardAnew()
	}
	// Only now, when nothing new goes by them any more.
	for _, end := range stale {
		end()
	}
}

// assume takes on the identity that was waited for, once it has its leaf, and
// the authorizer that goes with the configuration. It says whether the public
// listener must be guarded anew, and how to end what is replaced.
func (p *Proxy) assume(base context.Context) (stale []func(), guards bool) {
	if p.next != nil && p.next.ready() {
		old := p.duty
		p.mu.Lock()
		p.duty, p.next = p.next, nil
		p.mu.Unlock()
		stale, guards = append(stale, old.close), true
	}
	d := p.duty
	k := authorizerKey{identityKey: d.key, maxStale: p.plan.authorizer.maxStale}
	if p.config.Public == nil || d.authorizer != nil && d.authorizerKey == k {
		return stale, guards
	}
	stale = append(stale, d.authorizerTask.stop)
	a, t := d.newAuthorizer(base, k)
	p.mu.Lock()
	d.authorizerKey, d.authorizer, d.authorizerTask = k, a, t
	p.mu.Unlock()
	return stale, true
}

// running lists the listeners that are not about to go.
func (p *Proxy) running() []spec {
	out := make([]spec, 0, len(p.members))
	for _, m := range p.members {
		out = append(out, m.wants())
	}
	return out
}

// reap forgets what has ended: those that left, once their last connection has,
// and any whose Run gave up, so that it is opened again.
func (p *Proxy) reap() {
	var gone []*member
	p.mu.Lock()
	p.leaving = slices.DeleteFunc(p.leaving, func(m *member) bool {
		if m.task.ended() {
			gone = append(gone, m)
		}
		return m.task.ended()
	})
	for k, m := range p.members {
		if m.task.ended() {
			gone = append(gone, m)
			delete(p.members, k)
		}
	}
	p.mu.Unlock()
	for _, m := range gone {
		m.close()
	}
}

// open starts the listener of s.
func (p *Proxy) open(base context.Context, s spec) {
	o := p.optionsFor(s)
	var out *outlet
	if s.key.role == roleUpstream {
		var err error
		if out, err = p.openOutlet(base, s); err != nil {
			p.logger.Error("cannot open upstream", "upstream", s.name, "error", err)
			return
		}
		o.Dial = out.dial
	}
	m := openMember(base, s, o, out, p.logger)
	p.mu.Lock()
	p.members[s.key] = m
	p.mu.Unlock()
}

// change puts s in force on the socket that is open for its key. Another route is
// another upstream: connections that lead to the old one carry on.
func (p *Proxy) change(base context.Context, s spec) {
	m, o := p.members[s.key], p.optionsFor(s)
	if s.key.role == rolePublic {
		m.update(s, o, nil)
		return
	}
	old := m.leadsTo()
	if old.resolver.route == routeOf(s.upstream) {
		settings := p.upstreamOptionsFor(s)
		settings.Resolver = old.resolver
		old.up.Update(settings)
		o.Dial = old.dial
		m.update(s, o, old)
		return
	}
	out, err := p.openOutlet(base, s)
	if err != nil {
		p.logger.Error("cannot open upstream", "upstream", s.name, "error", err)
		return
	}
	o.Dial = out.dial
	m.update(s, o, out)
	old.close()
}

// retire closes a socket. Its connections carry on for as long as the
// configuration still leads to where they go, and otherwise for the time of a
// drain.
func (p *Proxy) retire(base context.Context, k key) {
	m := p.members[k]
	m.leave()
	if !p.plan.serves(m.wants()) {
		m.leaver = begin(base, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, p.drainTimeout())
			defer cancel()
			m.drain(ctx)
			return nil
		})
	}
	p.mu.Lock()
	delete(p.members, k)
	p.leaving = append(p.leaving, m)
	p.mu.Unlock()
	p.logger.Info("listener closed", "listener", m.wants().name, "address", m.wants().bind.String(), "connections", m.live())
}

// guardAnew has the public listener go by the identity and the authorizer of
// now.
func (p *Proxy) guardAnew() {
	for _, m := range p.members {
		if s := m.wants(); s.key.role == rolePublic {
			m.update(s, p.optionsFor(s), nil)
		}
	}
}

// optionsFor are the settings of a listener, all but an upstream's Dial.
func (p *Proxy) optionsFor(s spec) listener.Options {
	o := s.listenerOptions()
	o.Logger = p.logger
	o.Relay = p.relay
	if s.key.role == rolePublic {
		p.duty.guard(&o, s)
		o.Dial = dialLocal(s.public.Local)
	}
	return o
}

func (p *Proxy) upstreamOptionsFor(s spec) upstream.Options {
	o := s.upstreamOptions()
	o.Logger = p.logger
	o.Ready = p.await
	o.Dial = p.dialInstance
	return o
}

func (p *Proxy) openOutlet(base context.Context, s spec) (*outlet, error) {
	r := p.resolvers.acquire(base, routeOf(s.upstream))
	out, err := openOutlet(base, r, p.upstreamOptionsFor(s))
	if err != nil {
		r.release()
		return nil, err
	}
	return out, nil
}

// inUse is the identity of the moment. There is one before there is any
// listener or resolver.
func (p *Proxy) inUse() *duty {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.duty
}

func (p *Proxy) await(ctx context.Context) error       { return p.inUse().await(ctx) }
func (p *Proxy) datacenter(ctx context.Context) string { return p.inUse().datacenter(ctx) }

func (p *Proxy) dialInstance(ctx context.Context, ep upstream.Endpoint) (net.Conn, error) {
	return p.inUse().identity.Dial(ctx, ep)
}
