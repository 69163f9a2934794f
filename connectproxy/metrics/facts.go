package metrics

import (
	"time"

	"connect-proxy/listener"
)

// Facts are what is known of a proxy besides its connections, at one moment.
// They hold no secret.
type Facts struct {
	// Service is the name of the service that the proxy represents. The others are
	// the configuration's, and may be empty; Mode is managed, registered, file or
	// flags.
	Service, ServiceID, Namespace, Partition, Mode, ProxyID string
	// SpiffeID is the proxy's own; empty before there is a certificate.
	SpiffeID string
	// Started is when the proxy began to run.
	Started time.Time
	// Ready is set while the proxy serves as it should, Draining once it was asked
	// to stop.
	Ready, Draining bool

	// ConfigChanged is when the configuration in force took effect; zero before
	// there is one. ConfigProblem is set while something newer is invalid.
	ConfigChanged time.Time
	ConfigProblem bool
	// ConfigWarnings count the settings that cannot be honoured, SecurityWarnings
	// those that would keep somebody out elsewhere.
	ConfigWarnings, SecurityWarnings int

	// LeafNotBefore is the beginning of the certificate in force; zero where there
	// is none.
	LeafNotBefore time.Time
	// LeafNotAfter and RootsNotAfter are the ends of the certificate in force
	// and of the root that ends first; zero where there is none.
	LeafNotAfter, RootsNotAfter time.Time
	// Certificates has what is counted of certificates, by "leaf" and "root".
	Certificates map[string]CertificateFacts
	// AgentRequests counts the questions to the agent since the start, by what
	// they are about and then by what they came to; nil where that is not known.
	AgentRequests map[string]map[string]uint64

	// Listeners and Upstreams may be nil, as before there is a configuration.
	Listeners []ListenerFacts
	Upstreams []UpstreamFacts
	// Watches is when the agent last confirmed what a kind of watch knows: the
	// oldest time among the watches of the kind.
	Watches map[string]time.Time

	// Events counts those of Micro that came since the start, by who brought them
	// and then by what became of them; EventsLost those that one who subscribes did
	// not get, by who that is and then by why. Both are nil where there are none.
	Events, EventsLost map[string]map[string]uint64

	// LogLinesDropped counts the lines of the log that could not be written in
	// time, AccessLogDropped the records of the access log.
	LogLinesDropped, AccessLogDropped uint64
}

// CertificateFacts are about certificates of one kind, since the start.
type CertificateFacts struct {
	// Changes counts those that have come into force, Errors the failed attempts
	// to get one.
	Changes, Errors uint64
}

// ListenerFacts are about one listener.
type ListenerFacts struct {
	// Name is the listener's in the log, Address where it accepts.
	Name, Address string
	Direction     Direction
	// Retired is set for one that takes no new connections and waits for its
	// last ones; Up while it accepts.
	Retired, Up bool
	// Live counts its open connections, also those that are not relayed yet. Of
	// these, Handshakes count the ones whose client has not proved who it is, and
	// Authorizations the ones whose client has, and waits for a decision.
	Live, Handshakes, Authorizations int
	// OverLimit counts the connections that were refused since it began because as
	// many as allowed were open.
	OverLimit uint64
}

// UpstreamFacts are about one upstream.
type UpstreamFacts struct {
	Destination Destination
	// Connected counts the attempts to dial an instance that succeeded since the
	// start, Failures those that did not, by the name of the reason.
	Connected uint64
	Failures  map[string]uint64
	// Healthy and SetAside count the instances as they are now: those that may be
	// dialled, and those among them that failed and are set aside.
	Healthy, SetAside int
	// SetAsideFor counts how often an instance was set aside since the start, by
	// the name of the reason.
	SetAsideFor map[string]uint64
}

func (c *collection) about() {
	f := c.facts
	c.add(buildInfo, 1, buildLabels(c.version)...)
	c.add(info, 1, f.Service, f.ServiceID, c.self.namespace, c.self.partition, c.self.datacenter, f.Mode, f.ProxyID)
	c.add(ready, truth(f.Ready))
	c.add(draining, truth(f.Draining))
	c.add(logDropped, float64(f.LogLinesDropped))
	c.add(accessLogDropped, float64(f.AccessLogDropped))
}

// listeners is about what accepts connections, and about those that are not
// relayed yet.
func (c *collection) listeners(relayed map[Direction]int) {
	var handshakes, authorizations int
	live := map[Direction]int{Inbound: 0, Outbound: 0}
	for _, l := range c.facts.Listeners {
		handshakes += l.Handshakes
		authorizations += l.Authorizations
		live[l.Direction] += l.Live - l.Handshakes - l.Authorizations
		if l.Retired {
			continue
		}
		c.add(listenerUp, truth(l.Up), l.Name, string(l.Direction), l.Address)
	}
	c.add(connectionsPending, float64(handshakes), string(Inbound), "handshake")
	c.add(connectionsPending, float64(authorizations), string(Inbound), "authorize")
	for d, n := range live {
		c.add(connectionsPending, float64(max(0, n-relayed[d])), string(d), "dial")
	}
	c.add(acceptErrors, float64(c.m.acceptErrors.inbound.Load()), string(Inbound))
	c.add(acceptErrors, float64(c.m.acceptErrors.outbound.Load()), string(Outbound))
}

func (c *collection) attempts() {
	made, instances, aside := sums{}, sums{}, sums{}
	for s, n := range c.traffic {
		if s.direction == Inbound {
			to, in := s.destination(), string(Inbound)
			made.add(float64(n.opened.Load()), in, to, "ok")
			made.add(float64(n.closedUnopened[listener.ReasonDialTimeout].Load()), in, to, "timeout")
			made.add(float64(n.closedUnopened[listener.ReasonDialFailed].Load()), in, to, "error")
		}
	}
	for _, u := range c.facts.Upstreams {
		to, out := u.Destination.name(), string(Outbound)
		made.add(float64(u.Connected), out, to, "ok")
		for reason, v := range u.Failures {
			made.add(float64(v), out, to, reason)
		}
		instances.add(float64(u.Healthy), to, "healthy")
		instances.add(float64(u.SetAside), to, "set_aside")
		for reason, v := range u.SetAsideFor {
			aside.add(float64(v), to, reason)
		}
	}
	c.sums(dialAttempts, made)
	c.sums(upstreamInstances, instances)
	c.sums(upstreamSetAside, aside)
}

// control is about certificates, the agent and the configuration.
func (c *collection) control() {
	f := c.facts
	c.moment(certificateStart, f.LeafNotBefore, "leaf")
	c.moment(certificateExpiry, f.LeafNotAfter, "leaf")
	c.moment(certificateExpiry, f.RootsNotAfter, "root")
	for kind, n := range f.Certificates {
		c.add(certificateChanges, float64(n.Changes), kind, "ok")
		c.add(certificateChanges, float64(n.Errors), kind, "error")
	}
	c.table(agentRequests, f.AgentRequests)
	c.table(eventsCame, f.Events)
	c.table(eventsLost, f.EventsLost)
	for watch, at := range f.Watches {
		c.moment(agentLastSuccess, at, watch)
	}
	c.moment(configChanged, f.ConfigChanged)
	c.add(configProblem, truth(f.ConfigProblem))
	c.add(configWarnings, float64(f.ConfigWarnings))
	c.add(configSecurityWarnings, float64(f.SecurityWarnings))
}

// table adds what is counted by two labels.
func (c *collection) table(f *family, counts map[string]map[string]uint64) {
	for first, by := range counts {
		for second, n := range by {
			c.add(f, float64(n), first, second)
		}
	}
}

// moment leaves out what has not happened.
func (c *collection) moment(f *family, at time.Time, labels ...string) {
	if !at.IsZero() {
		c.add(f, float64(at.UnixMilli())/1000, labels...)
	}
}
