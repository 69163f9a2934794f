package connectproxy

import (
	"connect-proxy/connectproxy/byname"
	"connect-proxy/listener"
)

// newByName makes what answers clients that name a destination.
func (p *Proxy) newByName() *byname.Server {
	return byname.New(byname.Options{
		Destination: p.dynamic.destination,
		Target:      p.dynamic.Target,
		Dial:        p.dynamic.dial,
		Logger:      p.logger.With("listener", string(roleByName)),
	})
}

// followByName puts in force who may name what.
func (l *loop) followByName() {
	for _, s := range l.desired.specs {
		if s.byName == nil {
			continue
		}
		if err := l.byName.Update(*s.byName); err != nil {
			l.logger.Error("by_name stays as it was", "error", err) // Validate has let it pass
		}
	}
}

// unlessServed leaves out the connections of clients that were served in place of
// being relayed: what they asked for went by connections that are told of.
type unlessServed struct{ listener.Observer }

func (u unlessServed) ConnClosed(s listener.Summary) {
	if !s.Served {
		u.Observer.ConnClosed(s)
	}
}

// frontEnd is what reads where the clients of a listener want to go.
func (l *loop) frontEnd(r role) listener.RequestFunc {
	switch r {
	case roleByName:
		return l.byName.Request
	case roleMicro:
		return l.micro.Request
	}
	return l.edge.Request
}
