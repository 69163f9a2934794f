package cli

import (
	"context"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy"
)

// ResolverFunc makes what finds the instances of a destination. It logs to l.
type ResolverFunc func(d config.Destination, l hclog.Logger) connectproxy.Resolver

// Resolvers are what a build of the program has besides its own, by the type of
// destination.
type Resolvers map[config.DestinationType]ResolverFunc

// resolversKey is the key of Resolvers in a context.
type resolversKey struct{}

// WithResolvers returns a context for Main of a program that has these too.
func WithResolvers(ctx context.Context, r Resolvers) context.Context {
	return context.WithValue(ctx, resolversKey{}, r)
}

// built reports whether a context has what finds destinations of the type.
func built(ctx context.Context, t config.DestinationType) bool {
	given, _ := ctx.Value(resolversKey{}).(Resolvers)
	return given[t] != nil
}

// resolvers are those of a context, as the engine takes them.
func resolvers(ctx context.Context, l hclog.Logger) map[config.DestinationType]func(config.Destination) connectproxy.Resolver {
	given, _ := ctx.Value(resolversKey{}).(Resolvers)
	all := map[config.DestinationType]func(config.Destination) connectproxy.Resolver{}
	for t, find := range given {
		all[t] = func(d config.Destination) connectproxy.Resolver { return find(d, l) }
	}
	return all
}
