package connectproxy

import (
	"context"
	"net"
	"reflect"
	"runtime/debug"
	"slices"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/dynamic"
	"connect-proxy/connectproxy/identity"
	"connect-proxy/listener"
)

const (
	// manyListeners is how many that open together leave so much garbage, of the
	// configuration and of the first answers about their destinations, that it is
	// worth while to give it back, reclaimAfter later: Go would collect it once as
	// much has been allocated again, which at rest takes long, and keep its pages.
	manyListeners = 64
	reclaimAfter  = 5 * time.Second
)

// reclaim gives memory back after many listeners have opened.
func (l *loop) reclaim() {
	if l.reclaimAt.IsZero() || time.Now().Before(l.reclaimAt) {
		return
	}
	l.reclaimAt = time.Time{}
	debug.FreeOSMemory()
}

// reconcile makes what runs what is desired. What is the same is not touched.
func (l *loop) reconcile(base context.Context) {
	if l.config == nil {
		return
	}
	replaced := l.switchIdentities()
	if old := l.switchAuthorizer(base); old != nil {
		replaced = append(replaced, old.stop)
	}
	l.reap()
	l.followDynamic(base)
	if wanted := l.desired.openable(l.valid); !l.settled(wanted) {
		l.apply(base, diff(l.running(), wanted))
	}
	if len(replaced) > 0 {
		l.resecure()
	}
	replaced = append(replaced, l.dropPrincipals()...)
	l.forgetProblems()
	l.resetChanged()
	// Last, when nothing new goes by them any more.
	for _, stop := range replaced {
		stop()
	}
}

// settled reports whether the listeners that run are those wanted, as is the case
// most of the time: to find that out takes no memory.
func (l *loop) settled(wanted []*spec) bool {
	return len(wanted) == len(l.listeners) && !slices.ContainsFunc(wanted, func(s *spec) bool {
		b := l.listeners[s.key]
		return b == nil || b.currentSpec() != s
	})
}

// apply makes changes to what runs.
func (l *loop) apply(base context.Context, c changes) {
	for _, s := range c.same {
		l.listeners[s.key].adopt(s)
	}
	for _, k := range c.stopFirst {
		l.retire(base, k)
	}
	for _, s := range c.start {
		l.open(base, s)
	}
	if len(c.start) >= manyListeners {
		l.reclaimAt = time.Now().Add(reclaimAfter)
	}
	for _, s := range c.update {
		l.change(base, s)
	}
	for _, k := range c.stop {
		l.retire(base, k)
	}
}

// switchIdentities puts identities in use that were waited for and can be proved
// now. It returns what ends those they replace.
func (l *loop) switchIdentities() (stops []func()) {
	for _, p := range l.principals {
		if old := p.switchOver(); old != nil {
			stops = append(stops, old.stop)
		}
	}
	return stops
}

// switchAuthorizer starts the authorizer that goes with the configuration and
// with the identity of the public listener, and returns the one it replaces. One
// stays for as long as there are connections that it can end.
func (l *loop) switchAuthorizer(base context.Context) (replaced *runningAuthorizer) {
	old := l.authorizer
	if l.desired.authorizer == nil {
		if old == nil || slices.ContainsFunc(l.all(), (*boundListener).public) {
			return nil
		}
		l.authorizer = nil
		return old
	}
	o := *l.desired.authorizer
	o.Identity = l.principal(l.desired.specs[0].identity).inUse().options
	if old != nil && reflect.DeepEqual(old.options, o) {
		return nil
	}
	l.authorizer = &runningAuthorizer{Authorizer: l.o.Authorizer(o), options: o}
	l.authorizer.Watch(publicPeers{l.Proxy})
	// Before it denies anyone: whoever it does not judge is among its peers then.
	l.publish()
	l.authorizer.start(base)
	return old
}

// dropPrincipals forgets those that no listener stands for any more, and returns
// what ends them.
func (l *loop) dropPrincipals() (stops []func()) {
	l.principals = slices.DeleteFunc(slices.Clone(l.principals), func(p *principal) bool {
		wanted := slices.ContainsFunc(l.desired.identities, func(i namedIdentity) bool { return i.name == p.name })
		if !wanted {
			stops = append(stops, p.stop)
		}
		return !wanted
	})
	return stops
}

// valid reports whether the identity of that name can be proved at this moment.
func (l *loop) valid(identity string) bool { return l.principal(identity).inUse().valid() }

// running lists the listeners that are not about to go.
func (l *loop) running() []*spec {
	out := make([]*spec, 0, len(l.listeners))
	for _, b := range l.listeners {
		out = append(out, b.currentSpec())
	}
	return out
}

// reap forgets what has ended: retired listeners once their last connection has,
// and any whose Run gave up, so that it is opened again.
func (l *loop) reap() {
	for k, b := range l.listeners {
		if b.task.ended() {
			b.close()
			delete(l.listeners, k)
		}
	}
	l.retired = slices.DeleteFunc(l.retired, func(b *boundListener) bool {
		ended := b.task.ended()
		if ended {
			b.close()
		}
		return ended
	})
}

// open starts the listener of s.
func (l *loop) open(base context.Context, s *spec) {
	o := l.listenerOptions(s)
	var to *destination
	var socket net.Listener
	switch s.key.role {
	case roleUpstream:
		if to = l.startDestination(base, s); to == nil {
			return
		}
		o.Dial = to.dial
		if s.withoutPort() {
			socket = listener.WithoutSocket()
		}
	case roleByName, roleMicro, roleEdge:
		o.Request = l.frontEnd(s.key.role)
	case roleInternal:
		dialer := dynamic.NewDialer(l.dynamic.Upstreams)
		l.dynamic.dialer.Store(dialer)
		o.Request, socket = dialer.Request, dialer
	}
	b := bindListener(base, s, o, to, socket, l.logger)
	l.listeners[s.key] = b
	if b.public() {
		l.publish() // so that the authorizer finds connections from the first one on
	}
	b.start(base)
}

// change puts s in force on the socket that is open for its key. Another way to
// the instances is another destination: connections that lead to the old one
// carry on.
func (l *loop) change(base context.Context, s *spec) {
	b, o := l.listeners[s.key], l.listenerOptions(s)
	switch s.key.role {
	case rolePublic:
		b.update(s, o, nil)
		return
	case roleByName, roleMicro, roleEdge:
		o.Request = l.frontEnd(s.key.role)
		b.update(s, o, nil)
		return
	case roleInternal:
		o.Request = l.dynamic.dialer.Load().Request
		b.update(s, o, nil)
		return
	}
	old := b.currentDestination()
	if old.resolver.route == routeOf(s.upstream) && old.principal == l.principal(s.identity) {
		old.update(l.upstreamOptions(s))
		o.Dial = old.dial
		b.update(s, o, old)
		return
	}
	to := l.startDestination(base, s)
	if to == nil {
		return
	}
	o.Dial = to.dial
	b.update(s, o, to)
	old.close()
}

// retire closes a socket. Its connections carry on for as long as the
// configuration still leads to where they go, and otherwise for the time of a
// drain.
func (l *loop) retire(base context.Context, k key) {
	b := l.listeners[k]
	b.stopListening()
	if !l.desired.serves(b.currentSpec()) {
		b.drainFor(base, l.drainTimeout())
	}
	delete(l.listeners, k)
	l.retired = append(l.retired, b)
	s := b.currentSpec()
	l.logger.Info("listener closed", "listener", s.name, "address", s.address(), "connections", b.live())
}

// resecure has the public listener go by the identity and the authorizer in use.
func (l *loop) resecure() {
	for _, b := range l.listeners {
		if s := b.currentSpec(); s.key.role == rolePublic {
			b.update(s, l.listenerOptions(s), nil)
		}
	}
}

// listenerOptions are the settings of a listener, all but an upstream's Dial.
func (l *loop) listenerOptions(s *spec) listener.Options {
	o := s.listenerOptions()
	o.Logger = l.logger
	o.Relay = l.relay
	l.observe(s, &o)
	if s.key.role == rolePublic {
		id := l.principal(s.identity).inUse()
		o.Handshake = id.Handshake(identity.ServerTLS{MinVersion: s.public.MinTLS, ALPN: s.public.ALPN})
		o.Authorize = l.authorizing(id.options)
		if o.InProcess = l.inProcess(s.public); o.InProcess == nil {
			o.Dial = dialLocal(s.public.Local)
		}
		if s.public.LocalProxyProtocol == config.ProxyProtocolV2 {
			o.Preamble = proxyHeader
		}
	}
	return o
}

// forgetProblems drops those of listeners that are not desired any more.
func (l *loop) forgetProblems() {
	for k := range l.openProblems {
		if !slices.ContainsFunc(l.desired.specs, func(s *spec) bool { return s.key == k }) {
			delete(l.openProblems, k)
		}
	}
}
