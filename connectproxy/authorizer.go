package connectproxy

import (
	"context"
	"errors"
	"time"

	"connect-proxy/connectproxy/authorize"
	"connect-proxy/connectproxy/metrics"
	"connect-proxy/connectproxy/static"
	"connect-proxy/listener"
)

// Authorizer judges the callers of a public listener. Package authorize has
// Consul's. It must be safe for concurrent use.
type Authorizer interface {
	// Run keeps decisions fresh until ctx is done, and returns ctx's error. It is
	// called once. Connections of a peer that is denied are closed, those among
	// them that were open before it was called: an Authorizer that takes the
	// place of another judges them anew.
	Run(ctx context.Context) error
	// Authorize judges a session, as listener.AuthorizeFunc says. It refuses what
	// it cannot decide.
	Authorize(ctx context.Context, s listener.Session) error
	// Reason returns why a peer may or may not call, as it was judged last; "" if
	// nothing is known. It never asks.
	Reason(peer string) string
	// Watch adds connections that are to be closed when their peer is denied. It
	// is called before Run.
	Watch(p authorize.Peers)
	// Status returns a snapshot.
	Status() authorize.Status
}

// AuthorizerOptions say whose callers are judged. Another value is another
// Authorizer.
type AuthorizerOptions struct {
	// Identity is that of the service that is called.
	Identity IdentityOptions
	// Allow is who may call where the identity is not Consul's: patterns of package
	// allowlist. Empty means nobody.
	Allow []string
	// MaxStale is how long a decision is used while none can be had; zero means
	// the authorizer's default.
	MaxStale time.Duration
}

// newAuthorizer makes the built-in authorizers: one goes by Consul's intentions,
// one by a list.
func (p *Proxy) newAuthorizer(o AuthorizerOptions) Authorizer {
	if o.Identity.Source != FromConsul {
		return static.NewAuthorizer(o.Allow, p.logger)
	}
	return authorize.New(authorize.Options{
		Client:    p.o.Client,
		Service:   o.Identity.Service,
		Namespace: o.Identity.Namespace,
		Partition: o.Identity.Partition,
		MaxStale:  o.MaxStale,
		Logger:    p.logger,
	})
}

// runningAuthorizer is an Authorizer with the goroutine that runs it.
type runningAuthorizer struct {
	Authorizer
	options AuthorizerOptions
	task    *task
}

func (r *runningAuthorizer) start(ctx context.Context) { r.task = startTask(ctx, r.Run) }

// stop ends the authorizer and waits for it. A nil one has ended.
func (r *runningAuthorizer) stop() {
	if r != nil {
		r.task.stop()
	}
}

var errNoAuthorizer = errors.New("nobody judges callers any more: the proxy ends")

var errOtherCAs = errors.New("the caller was recognized by CAs of before: other files are in force now")

// authorizing has the authorizer of the moment judge sessions that the identity
// of has recognized, also for a connection that was accepted when another was in
// use: that one learns of no denial any more. Where the CAs are others by now,
// nobody says who the caller is, and a list that suits these may let anyone in.
func (p *Proxy) authorizing(of IdentityOptions) listener.AuthorizeFunc {
	return func(ctx context.Context, s listener.Session) error {
		a := p.published.Load().authorizer
		switch {
		case a == nil:
			return errNoAuthorizer
		case a.options.Identity.Source != of.Source || a.options.Identity.Files != of.Files:
			return errOtherCAs
		}
		return p.authorize(ctx, a, s)
	}
}

// authorize has an authorizer decide about a session, and counts the decision.
func (p *Proxy) authorize(ctx context.Context, a *runningAuthorizer, s listener.Session) error {
	origin := metrics.OriginLocal
	var err error
	if j, ok := a.Authorizer.(originAuthorizer); ok {
		var from authorize.Origin
		from, err = j.Judge(ctx, s)
		origin = origins[from]
	} else {
		err = a.Authorize(ctx, s)
	}
	p.metrics.Judged(s.Peer, decisionOf(err), origin)
	return err
}

// originAuthorizer is an Authorizer that returns where its decisions are from.
type originAuthorizer interface {
	Judge(ctx context.Context, s listener.Session) (authorize.Origin, error)
}

var origins = map[authorize.Origin]metrics.Origin{
	authorize.OriginCache: metrics.OriginCache,
	authorize.OriginAgent: metrics.OriginAgent,
	authorize.OriginStale: metrics.OriginStale,
}

func decisionOf(err error) metrics.Verdict {
	switch {
	case err == nil:
		return metrics.Allowed
	case errors.As(err, new(*listener.Denied)):
		return metrics.Denied
	}
	return metrics.Unknown
}
