package connectproxy

import (
	"context"
	"net"
	"net/http"

	"connect-proxy/config"
	"connect-proxy/connectproxy/dynamic"
	"connect-proxy/connectproxy/micro"
)

// newMicro makes what answers applications of Micro.
func (p *Proxy) newMicro() *micro.Server {
	return micro.New(micro.Options{
		Destination: func(name string) (config.Destination, error) { return p.dynamic.destination(name, "") },
		Target:      p.dynamic.Target,
		Dial: func(ctx context.Context, d config.Destination, client net.Addr) (net.Conn, error) {
			return p.dynamic.dial(ctx, dynamic.Call{To: d, Client: client})
		},
		Registry:  microRegistry{p, make(map[string]representedServices)},
		Registrar: p.registrations,
		Catalog:   &subscribers{p: p},
		Service:   p.ownService,
		Pages:     http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.shown.ServeHTTP(w, r) }),
		Logger:    p.logger.With("listener", string(roleMicro)),
	})
}

// ownService is the name of the service that is represented, or "" while it is not
// known.
func (p *Proxy) ownService() string {
	if c := p.published.Load().config; c != nil {
		return c.Service
	}
	return ""
}

// followMicro puts in force what may be called.
func (l *loop) followMicro() {
	for _, s := range l.desired.specs {
		if s.micro == nil {
			continue
		}
		if err := l.micro.Update(*s.micro); err != nil {
			l.logger.Error("micro stays as it was", "error", err) // Validate has let it pass
		}
	}
}
