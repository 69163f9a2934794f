package connectproxy

import (
	"slices"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/metrics"
	"connect-proxy/listener"
	"connect-proxy/listener/relay"
	"connect-proxy/upstream/watch"
)

// observe sets what counts a listener's connections and what records them.
func (l *loop) observe(s *spec, o *listener.Options) {
	switch {
	case s.named():
		c := namedCounter{l.metrics, l.dynamic.Keeps}
		o.Observer, o.Counters, o.AcceptFailed = c, c.counters, c.acceptFailed
	case s.upstream != nil:
		l.count(o, metrics.Outbound, counted(s.upstream.Destination))
	default:
		l.count(o, metrics.Inbound, metrics.Destination{Service: l.config.Service, Namespace: l.config.Namespace, Partition: l.config.Partition})
	}
	if record := l.observer(s); record != nil {
		o.Observer = bothObservers{o.Observer, record}
	}
	if l.o.Observer != nil {
		o.Observer = bothObservers{o.Observer, l.o.Observer}
	}
	if s.named() {
		o.Observer = unlessServed{o.Observer}
	}
}

func (l *loop) count(o *listener.Options, d metrics.Direction, to metrics.Destination) {
	c := connCounter{l.metrics.Listener(d, to)}
	o.Observer, o.Counters, o.AcceptFailed = c, c.counters, c.to.AcceptFailed
}

// namedCounter counts connections by the destination that each has named, if that
// is kept: names that nobody has must not become labels.
type namedCounter struct {
	to    *metrics.Metrics
	known func(config.Destination) bool
}

var _ listener.Observer = namedCounter{}

// of returns what counts o.
func (c namedCounter) of(o listener.Open, known bool) connCounter {
	var to metrics.Destination
	if d, ok := o.Destination.(config.Destination); ok && (known || c.known(d)) {
		to = counted(d)
	}
	return connCounter{c.to.Listener(metrics.Outbound, to)}
}

func (c namedCounter) ConnOpened(o listener.Open) { c.of(o, true).ConnOpened(o) }

func (c namedCounter) ConnClosed(s listener.Summary) { c.of(s.Open, s.Relayed).ConnClosed(s) }

func (c namedCounter) acceptFailed(err error) {
	c.to.Listener(metrics.Outbound, metrics.Destination{}).AcceptFailed(err)
}

func (c namedCounter) counters(o listener.Open) *relay.Counters { return c.of(o, true).counters(o) }

// bothObservers tells two of each connection.
type bothObservers struct{ first, second listener.Observer }

func (b bothObservers) ConnOpened(o listener.Open) {
	b.first.ConnOpened(o)
	b.second.ConnOpened(o)
}

func (b bothObservers) ConnClosed(s listener.Summary) {
	b.first.ConnClosed(s)
	b.second.ConnClosed(s)
}

// counted is a destination as metrics name it.
func counted(d config.Destination) metrics.Destination {
	name := d.Name
	if d.Type == config.Addresses {
		name = d.String()
	}
	if d.Type == config.PreparedQuery {
		name += metrics.QuerySuffix
	}
	return metrics.Destination{Service: name, Namespace: d.Namespace, Partition: d.Partition, Datacenter: d.Datacenter}
}

// connCounter counts what a listener tells of.
type connCounter struct{ to *metrics.ListenerCounts }

var _ listener.Observer = connCounter{}

func (c connCounter) ConnOpened(o listener.Open) { c.to.Opened(conn(o)) }

func (c connCounter) ConnClosed(s listener.Summary) {
	c.to.Closed(metrics.Ended{Opened: conn(s.Open), Reason: s.Reason, Duration: s.Duration})
}

func (c connCounter) counters(o listener.Open) *relay.Counters { return c.to.Counters(conn(o)) }

func conn(o listener.Open) metrics.Opened {
	return metrics.Opened{
		ID: o.ID, Peer: o.Peer, TLSVersion: o.TLSVersion, Resumed: o.Resumed, Handshake: o.Handshake, Dial: o.Dial,
	}
}

// facts are what metrics show besides connections.
func (p *Proxy) facts() metrics.Facts {
	now, st, s := time.Now(), p.published.Load(), p.Status()
	f := metrics.Facts{
		Service: s.Config.Service, ServiceID: s.Config.ServiceID, Namespace: s.Config.Namespace, Partition: s.Config.Partition,
		Mode: string(s.Config.Mode), ProxyID: s.Config.ProxyID,
		Started: st.started, Ready: s.Ready, Draining: s.Draining,
		ConfigChanged: st.since, ConfigProblem: s.Config.Problem != "",
		ConfigWarnings: len(s.Config.Warnings), SecurityWarnings: len(s.Config.SecurityWarnings),
		LogLinesDropped: s.LogLinesDropped, AccessLogDropped: s.AccessLogDropped, Watches: map[string]time.Time{},
	}
	f.Events, f.EventsLost = p.eventFacts(st.config)
	confirmed := func(kind string, w watch.Freshness) {
		at := now.Add(-time.Duration(w.AgeSeconds * float64(time.Second)))
		if known, ok := f.Watches[kind]; w.Has && (!ok || at.Before(known)) {
			f.Watches[kind] = at
		}
	}
	if id := s.Identity; id != nil {
		f.SpiffeID, f.LeafNotBefore, f.LeafNotAfter = id.SpiffeID, id.LeafNotBefore, id.LeafNotAfter
		f.Certificates = map[string]metrics.CertificateFacts{
			"leaf": {Changes: id.LeafChanges, Errors: id.LeafErrors}, "root": {Changes: id.RootChanges, Errors: id.RootErrors},
		}
		f.RootsNotAfter = earliest(id.RootsNotAfter)
		for _, other := range s.OtherIdentities { // the first that ends is the one to look at
			f.LeafNotAfter = earliest(existing(f.LeafNotAfter, other.LeafNotAfter))
			f.RootsNotAfter = earliest(existing(append(other.RootsNotAfter, f.RootsNotAfter)...))
		}
		confirmed("leaf", id.Leaf)
		confirmed("roots", id.RootsSeen)
	}
	if s.Agent != nil {
		f.AgentRequests = s.Agent.Requests
	}
	if src, ok := p.o.Source.(config.Confirmer); ok && !src.Confirmed().IsZero() {
		f.Watches["config"] = src.Confirmed()
	}
	if a := s.Authorizer; a != nil {
		confirmed("intentions", a.Intentions)
	}
	destinations := configuredDestinations(st.config)
	for _, d := range s.Dynamic {
		confirmed("endpoints", d.Resolver)
		u := upstreamFacts(&d.UpstreamStatus, counted(d.destination))
		if _, configured := destinations[d.Name]; configured {
			u.Healthy, u.SetAside = 0, 0 // the same instances are counted there
		}
		f.Upstreams = append(f.Upstreams, u)
	}
	for _, l := range s.Listeners {
		f.Listeners = append(f.Listeners, listenerFacts(l))
		if to, ok := destinations[l.To]; ok && l.Upstream != nil {
			confirmed("endpoints", l.Upstream.Resolver)
			f.Upstreams = append(f.Upstreams, upstreamFacts(l.Upstream, to))
		}
	}
	return f
}

// configuredDestinations are those of c's upstreams by their names; c may be nil.
func configuredDestinations(c *config.Config) map[string]metrics.Destination {
	all := map[string]metrics.Destination{}
	if c != nil {
		for _, u := range c.Upstreams {
			all[u.Destination.String()] = counted(u.Destination)
		}
	}
	return all
}

// eventFacts are about events of Micro, which there are where c has a port for them.
func (p *Proxy) eventFacts(c *config.Config) (came, lost map[string]map[string]uint64) {
	if c == nil || c.Micro == nil {
		return nil, nil
	}
	counted := p.micro.Events()
	return counted.Events, counted.Lost
}

func listenerFacts(l ListenerStatus) metrics.ListenerFacts {
	f := metrics.ListenerFacts{
		Name: l.Name, Address: l.Address, Direction: metrics.Outbound,
		Retired: l.Leaving, Up: l.Bound != "" && l.Problem == "", Live: l.Live, Handshakes: l.Handshakes, Authorizations: l.Authorizations,
		OverLimit: l.OverLimit,
	}
	if l.Role == string(rolePublic) {
		f.Direction = metrics.Inbound
	}
	return f
}

func upstreamFacts(u *UpstreamStatus, to metrics.Destination) metrics.UpstreamFacts {
	f := metrics.UpstreamFacts{Destination: to, Connected: u.Connected, Failures: u.Failures, SetAsideFor: u.SetAsideFor}
	for _, in := range u.Instances {
		if in.SetAsideSeconds > 0 {
			f.SetAside++
		} else {
			f.Healthy++
		}
	}
	return f
}

// existing leaves out the zero time.
func existing(times ...time.Time) []time.Time {
	return slices.DeleteFunc(times, time.Time.IsZero)
}

// earliest returns the zero time for none.
func earliest(times []time.Time) time.Time {
	if len(times) == 0 {
		return time.Time{}
	}
	return slices.MinFunc(times, time.Time.Compare)
}
