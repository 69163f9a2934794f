package connectproxy

import (
	"cmp"
	"crypto/tls"
	"net"
	"strings"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/adminapi"
	"connect-proxy/connectproxy/authorize"
	"connect-proxy/connectproxy/identity"
	"connect-proxy/listener"
	"connect-proxy/upstream/watch"
)

// adminSource is what the admin pages show of a Proxy.
type adminSource struct{ p *Proxy }

var _ adminapi.Source = adminSource{}

func (a adminSource) Proxy() adminapi.Proxy {
	s := a.p.Status()
	out := adminapi.Proxy{
		Version: a.p.o.Version, Service: s.Config.Service, ServiceID: s.Config.ServiceID, ProxyID: s.Config.ProxyID,
		Namespace: s.Config.Namespace, Partition: s.Config.Partition, Mode: string(s.Config.Mode),
		Ready: s.Ready, Reasons: s.Reasons, Warnings: s.Warnings, Draining: s.Draining, UptimeSeconds: s.UptimeSeconds,
		Agent: agentOf(s), LogLinesDropped: s.LogLinesDropped, Listeners: []adminapi.Listener{},
	}
	for _, l := range s.Listeners {
		if role(l.Role) == roleInternal {
			continue // nobody connects to it but the proxy's own front ends
		}
		out.Listeners = append(out.Listeners, adminapi.Listener{
			Name: l.Name, Direction: direction(role(l.Role)), Address: l.Address, To: l.To,
			Up: l.Bound != "" && l.Problem == "", Problem: l.Problem, Leaving: l.Leaving, Live: l.Live,
		})
	}
	return out
}

// agentOf says how the agent is by what was last asked of it.
func agentOf(s Status) adminapi.Agent {
	var out adminapi.Agent
	note := func(w watch.Freshness) {
		if w.Error != "" {
			out.Problem = w.Error
			out.SilentSeconds = max(out.SilentSeconds, w.AgeSeconds)
		}
	}
	for _, l := range s.Listeners {
		if u := l.Upstream; u != nil && (u.DestinationType == config.Service || u.DestinationType == config.PreparedQuery) {
			note(u.Resolver)
		}
	}
	if s.Authorizer != nil {
		note(s.Authorizer.Intentions)
	}
	if s.Identity != nil {
		note(s.Identity.RootsSeen)
		note(s.Identity.Leaf)
	}
	if s.Agent != nil {
		out.Address = s.Agent.Address
		if s.Agent.Problem != "" {
			out.Problem = s.Agent.Problem
		}
	}
	return out
}

// direction is which way connections of a listener go.
func direction(r role) string {
	if r == rolePublic {
		return "inbound"
	}
	return "outbound"
}

func (a adminSource) Connections() []adminapi.Connection {
	st, now := a.p.published.Load(), time.Now()
	all := []adminapi.Connection{}
	if st.config == nil {
		return all
	}
	names := make(map[string]string) // of services, by SPIFFE ID
	for _, b := range st.all() {
		ln, s := b.listener(), b.currentSpec()
		if ln == nil {
			continue
		}
		for _, c := range ln.Connections() {
			source, ok := names[c.Peer]
			if !ok {
				source = serviceOf(c.Peer)
				names[c.Peer] = source
			}
			out := connection(c, now)
			out.Direction = direction(s.key.role)
			if s.key.role == rolePublic {
				out.Source, out.Destination = source, st.config.Service
			} else {
				out.Source, out.Destination = st.config.Service, s.to()
				if c.Destination != nil {
					out.Destination = c.Destination.String()
				}
			}
			all = append(all, out)
		}
	}
	return all
}

func connection(c listener.Connection, now time.Time) adminapi.Connection {
	out := adminapi.Connection{
		ID: c.ID, Listener: c.Listener, Client: address(c.Client), Peer: c.Peer,
		Instance: c.Instance.ID, InstanceAddress: c.Instance.Address, Phase: c.Phase,
		Resumed: c.Resumed, ToDestinationBytes: c.ToUpstream, ToSourceBytes: c.ToClient,
		Start: c.Start, AgeSeconds: watch.Seconds(now.Sub(c.Start)),
	}
	if c.TLSVersion != 0 {
		out.TLSVersion = strings.TrimPrefix(tls.VersionName(c.TLSVersion), "TLS ")
	}
	return out
}

// address is empty for the far end of a unix socket, which has none.
func address(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

// serviceOf names the service of a SPIFFE ID that was proven, with its namespace
// where that is not the default one.
func serviceOf(uri string) string {
	_, name, ok := strings.Cut(uri, "/svc/")
	if !ok {
		return ""
	}
	if _, rest, ok := strings.Cut(uri, "/ns/"); ok {
		if ns, _, _ := strings.Cut(rest, "/"); ns != "default" {
			return ns + "/" + name
		}
	}
	return name
}

func (a adminSource) CloseConnection(id uint64) bool {
	for _, b := range a.p.published.Load().all() {
		if ln := b.listener(); ln != nil && ln.CloseConnection(id, listener.ReasonShutdown) {
			a.p.logger.Info("connection cut by request", "id", id)
			return true
		}
	}
	return false
}

func (a adminSource) Upstreams() []adminapi.Upstream {
	all, s := []adminapi.Upstream{}, a.p.Status()
	for _, l := range s.Listeners {
		if l.Upstream == nil || l.Leaving {
			continue
		}
		u := upstreamOf(l.Upstream)
		u.Destination, u.Address, u.Live = l.To, l.Address, l.Live
		u.Problem = cmp.Or(l.Problem, u.Problem)
		all = append(all, u)
	}
	for _, d := range s.Dynamic {
		u := upstreamOf(&d.UpstreamStatus)
		u.Destination, u.Address = d.Name, "by name"
		all = append(all, u)
	}
	return all
}

// upstreamOf is what there is to show of an upstream, wherever it is reached.
func upstreamOf(s *UpstreamStatus) adminapi.Upstream {
	u := adminapi.Upstream{
		Balance: s.Balance, Live: s.Live, Failures: s.Failures, Instances: []adminapi.Instance{},
		Known: s.Resolver.Has, AgeSeconds: s.Resolver.AgeSeconds, Problem: s.Resolver.Error,
	}
	if u.Problem == "" && u.Known && len(s.Instances) == 0 {
		u.Problem = "no healthy instance"
	}
	for _, i := range s.Instances {
		u.Instances = append(u.Instances, adminapi.Instance{
			ID: i.ID, Address: i.Address, Live: i.Live, Failures: i.Failures, Error: i.Error,
			SetAside: i.SetAside, SetAsideSeconds: i.SetAsideSeconds,
		})
	}
	return u
}

func (a adminSource) Certificates() adminapi.Certificates {
	s := a.p.Status()
	if s.Identity == nil {
		return adminapi.Certificates{Roots: []adminapi.Root{}, Problem: "no configuration yet"}
	}
	out := certificates(*s.Identity)
	for _, i := range s.OtherIdentities {
		other := certificates(i.Status)
		other.Identity = i.Name
		out.Others = append(out.Others, other)
	}
	return out
}

func certificates(s identity.Status) adminapi.Certificates {
	out := adminapi.Certificates{Roots: []adminapi.Root{}, Warnings: s.Warnings}
	out.SpiffeID, out.TrustDomain, out.Problem, out.Changes = s.SpiffeID, s.TrustDomain, s.Problem, s.Generation
	if s.Mesh != nil {
		mesh := adminapi.MeshTLS(*s.Mesh)
		out.Mesh = &mesh
	}
	if !s.LeafNotAfter.IsZero() {
		out.Leaf = &adminapi.Leaf{
			Serial: s.LeafSerial, NotBefore: s.LeafNotBefore, NotAfter: s.LeafNotAfter,
			RemainingSeconds: watch.Seconds(time.Until(s.LeafNotAfter)),
		}
	}
	for i, id := range s.Roots {
		r := adminapi.Root{ID: id, Active: id == s.ActiveRoot}
		if i < len(s.RootsNotAfter) {
			r.NotAfter = s.RootsNotAfter[i]
		}
		out.Roots = append(out.Roots, r)
	}
	return out
}

// decider is an Authorizer that tells its decisions.
type decider interface{ Decisions() []authorize.Decision }

func (a adminSource) Intentions() adminapi.Intentions {
	out := adminapi.Intentions{Decisions: []adminapi.Decision{}}
	running := a.p.published.Load().authorizer
	if running == nil {
		return out
	}
	s := running.Status()
	out.Public, out.Problem, out.ByList = true, s.Problem, running.options.Identity.Source != FromConsul
	out.Blind, out.WatchProblem = s.Unwatched, s.Intentions.Error
	d, ok := running.Authorizer.(decider)
	if !ok {
		return out
	}
	for _, x := range d.Decisions() {
		out.Decisions = append(out.Decisions, adminapi.Decision{
			Peer: x.Peer, Source: serviceOf(x.Peer), Known: x.Known, Allowed: x.Allowed, Reason: x.Reason,
			AgeSeconds: x.AgeSeconds, Error: x.Error,
		})
	}
	sortDecisions(out.Decisions)
	return out
}
