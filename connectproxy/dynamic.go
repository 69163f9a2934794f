package connectproxy

import (
	"context"
	"net"
	"reflect"
	"strings"
	"sync/atomic"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/dynamic"
	"connect-proxy/listener"
	"connect-proxy/upstream/watch"
)

// dynamicUpstreams are the destinations that are named at run time, for all front
// ends together.
type dynamicUpstreams struct {
	*dynamic.Upstreams
	p *Proxy
	// settings are those of all of them, and dialer is for front ends that talk
	// themselves; both are nil while nothing names destinations.
	settings atomic.Pointer[dynamicSettings]
	dialer   atomic.Pointer[dynamic.Dialer]
}

// dynamicSettings are what a dynamic upstream is opened with.
type dynamicSettings struct {
	spec      *spec // of any, without its name and destination
	principal *principal
	find      func(route) (*sharedResolver, error)
}

func newDynamicUpstreams(p *Proxy) *dynamicUpstreams {
	d := &dynamicUpstreams{p: p}
	d.Upstreams = dynamic.New(d.open)
	return d
}

// open opens a destination as a configured one is opened.
func (d *dynamicUpstreams) open(to config.Destination) (dynamic.Upstream, error) {
	with := d.settings.Load()
	if with == nil {
		return nil, dynamic.ErrClosed
	}
	s := with.specFor(to)
	r, err := with.find(routeOf(s.upstream))
	if err != nil {
		return nil, err
	}
	opened, err := startDestination(r, with.principal, d.p.upstreamOptions(s))
	if err != nil {
		return nil, err
	}
	return newDynamicDestination(opened), nil
}

// specFor is the spec of a destination, as if it were configured.
func (s *dynamicSettings) specFor(to config.Destination) *spec {
	of, u := *s.spec, *s.spec.upstream
	u.Destination = to
	of.name, of.upstream = to.String(), &u
	return &of
}

// dial connects for a front end that reads and writes itself.
func (d *dynamicUpstreams) dial(ctx context.Context, to dynamic.Call) (net.Conn, error) {
	dialer := d.dialer.Load()
	if dialer == nil {
		return nil, dynamic.ErrClosed
	}
	c, err := dialer.Dial(ctx, to)
	if err != nil {
		return nil, err // lest it be a *dynamic.Conn that is nil
	}
	return c, nil
}

// destination is what a client means by a name: in the proxy's own datacenter a
// service is the same whether or not that is named.
func (d *dynamicUpstreams) destination(name, domain string) (config.Destination, error) {
	to, err := config.ParseDestination(name, domain)
	if err == nil && to.Datacenter != "" && strings.EqualFold(to.Datacenter, d.p.ownDatacenter()) {
		to.Datacenter = ""
	}
	return to, err
}

// ownDatacenter is the agent's, or "" while it is not known.
func (p *Proxy) ownDatacenter() string {
	for _, pr := range p.published.Load().principals {
		if dc := pr.inUse().Datacenter(); dc != "" {
			return dc
		}
	}
	return ""
}

// dynamicDestination is a destination of which it can be told whether anybody has
// its name.
type dynamicDestination struct {
	*destination
	answered chan struct{} // closed once there is a set
	unfollow func()
}

var _ dynamic.Upstream = (*dynamicDestination)(nil)

func newDynamicDestination(to *destination) *dynamicDestination {
	d := &dynamicDestination{destination: to, answered: make(chan struct{})}
	var once atomic.Bool
	note := func() {
		if _, ok := to.resolver.Set(); ok && once.CompareAndSwap(false, true) {
			close(d.answered)
		}
	}
	d.unfollow = to.resolver.Follow(note)
	note()
	return d
}

// Answered, Instances, Dial and Close are dynamic.Upstream's.
func (d *dynamicDestination) Answered() <-chan struct{} { return d.answered }

func (d *dynamicDestination) Instances() int {
	s, _ := d.resolver.Set()
	return len(s.Endpoints)
}

func (d *dynamicDestination) Dial(ctx context.Context) (listener.Target, error) { return d.dial(ctx) }

func (d *dynamicDestination) Close() {
	d.unfollow()
	d.close()
}

// followDynamic puts the configuration's settings of dynamic upstreams in force,
// and closes those that are not used any more.
func (l *loop) followDynamic(base context.Context) {
	d := l.dynamic
	want := l.desired.dynamicSettings()
	if want == nil {
		if d.settings.Swap(nil) != nil {
			d.Reset()
			l.byName.Reset()
			l.micro.Reset()
			l.public.Reset()
		}
		l.followEdge(base)
		return
	}
	find := func(r route) (*sharedResolver, error) { return l.resolvers.acquire(base, r) }
	now, have := &dynamicSettings{want, l.principal(want.identity), find}, d.settings.Load()
	switch {
	case have != nil && have.principal == now.principal && reflect.DeepEqual(have.spec, now.spec):
	case have == nil, have.principal != now.principal, have.spec.upstream.MeshGateway != now.spec.upstream.MeshGateway:
		d.settings.Store(now)
		d.Reset()
		if have != nil { // what is kept for later stands for another identity, or leads another way
			l.byName.Reset()
			l.micro.Reset()
			l.public.Reset()
		}
	default:
		d.settings.Store(now)
		for _, i := range d.List() {
			if to, ok := i.Upstream.(*dynamicDestination); ok {
				to.update(l.upstreamOptions(now.specFor(i.Destination)))
			}
		}
	}
	l.followByName()
	l.followMicro()
	l.followEdge(base)
	d.CloseIdle(time.Now())
}

// dynamicSettings returns the spec that has them, or nil.
func (d desired) dynamicSettings() *spec {
	for _, s := range d.specs {
		if s.key.role == roleInternal {
			return s
		}
	}
	return nil
}

// DynamicStatus is about a destination that was named at run time.
type DynamicStatus struct {
	// Name is the destination, as clients name it.
	Name string `json:"name"`
	// UnusedSeconds is how long ago a connection last began or ended; zero while
	// there is one.
	UnusedSeconds float64 `json:"unused_seconds"`
	UpstreamStatus

	destination config.Destination
}

func (d *dynamicUpstreams) status(now time.Time) []DynamicStatus {
	var all []DynamicStatus
	for _, i := range d.List() {
		to, ok := i.Upstream.(*dynamicDestination)
		if !ok {
			continue
		}
		s := DynamicStatus{Name: i.Destination.String(), UpstreamStatus: *to.status(now), destination: i.Destination}
		if i.Users == 0 {
			s.UnusedSeconds = watch.Seconds(max(0, now.Sub(i.Used)))
		}
		all = append(all, s)
	}
	return all
}
