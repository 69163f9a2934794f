package connectproxy

import (
	"context"
	"net"
	"reflect"

	"connect-proxy/config"
	"connect-proxy/connectproxy/dynamic"
	"connect-proxy/connectproxy/edge"
	"connect-proxy/connectproxy/micro"
)

// newPublic makes what answers strangers.
func (p *Proxy) newPublic() *micro.PublicServer {
	return micro.NewPublicServer(micro.Options{
		Destination: func(name string) (config.Destination, error) { return p.dynamic.destination(name, "") },
		Dial: func(ctx context.Context, d config.Destination, client net.Addr) (net.Conn, error) {
			return p.dynamic.dial(ctx, dynamic.Call{To: d, Client: client})
		},
		Logger: p.logger.With("listener", string(roleEdge)),
	})
}

// edgeInForce is what secures strangers' connections, with what keeps its
// certificates fresh. It belongs to the loop.
type edgeInForce struct {
	*edge.Terminator
	options edge.Options // without functions
	task    *task
	ending  *task // the one before
}

// followEdge puts in force how strangers' connections are secured and what they may
// call. It never blocks, but where certificates change twice in a moment.
func (l *loop) followEdge(base context.Context) {
	var want *config.Edge
	for _, s := range l.desired.specs {
		if s.edge != nil {
			want = s.edge
		}
	}
	if want == nil {
		l.edge.replace(nil)
		l.secured = nil
		return
	}
	if err := l.public.Update(*want); err != nil {
		l.logger.Error("edge stays as it was", "error", err) // Validate has let it pass
	}
	o := edge.Options{Hosts: want.Hosts, Cert: want.Cert, Key: want.Key, ACME: want.ACME}
	if l.edge.Terminator != nil && reflect.DeepEqual(o, l.edge.options) {
		return
	}
	l.edge.options = o
	o.Request, o.Logger = l.public.Request, l.logger.With("listener", string(roleEdge))
	e := edge.New(o)
	e.TakeOver(l.edge.Terminator)
	l.edge.replace(startTask(base, e.Run))
	l.edge.Terminator, l.secured = e, e
}

// replace ends what keeps certificates fresh, and has another do so.
func (e *edgeInForce) replace(by *task) {
	if e.task != nil {
		e.ending.stop()
		e.task.cancel()
		e.ending = e.task
	}
	e.Terminator, e.task = nil, by
}

// stop ends everything and waits for it.
func (e *edgeInForce) stop() {
	e.replace(nil)
	e.ending.stop()
}
