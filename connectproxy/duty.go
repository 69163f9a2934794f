package connectproxy

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/listener"
)

// duty is whom the proxy stands for in the mesh: the identity that it shows,
// and who may pass to its application. Its fields belong to the engine's loop,
// which holds Proxy.mu to write them.
type duty struct {
	client *api.Client
	logger hclog.Logger
	peers  livePeers

	key          identityKey
	identity     *identity
	identityTask *task

	authorizerKey  authorizerKey
	authorizer     *authorizer // nil while there is no public listener
	authorizerTask *task
}

func openDuty(ctx context.Context, k identityKey, c *api.Client, peers livePeers, l hclog.Logger) *duty {
	d := &duty{client: c, logger: l, peers: peers, key: k}
	d.identity = newIdentity(identityOptions{
		Client:    c,
		Service:   k.service,
		Namespace: k.namespace,
		Partition: k.partition,
		TLS:       k.tls,
		Logger:    l,
	})
	d.identityTask = begin(ctx, d.identity.Run)
	return d
}

// newAuthorizer makes the authorizer for k and starts it.
func (d *duty) newAuthorizer(ctx context.Context, k authorizerKey) (*authorizer, *task) {
	a := newAuthorizer(authorizerOptions{
		Client:    d.client,
		Service:   k.service,
		Namespace: k.namespace,
		Partition: k.partition,
		MaxStale:  k.maxStale,
		Logger:    d.logger,
	})
	a.Watch(d.peers)
	return a, begin(ctx, a.Run)
}

// ready says whether there has been a leaf and roots.
func (d *duty) ready() bool {
	select {
	case <-d.identity.Ready():
		return true
	default:
		return false
	}
}

// valid says whether the proxy can prove who it is at this moment.
func (d *duty) valid() bool { return d.ready() && d.identity.Problem() == "" }

// await returns once the proxy can prove who it is, so that no instance is
// blamed for what we lack.
func (d *duty) await(ctx context.Context) error {
	select {
	case <-d.identity.Ready():
	case <-ctx.Done():
		return fmt.Errorf("waiting for certificates: %w: %s", ctx.Err(), d.identity.Problem())
	}
	if p := d.identity.Problem(); p != "" {
		return errors.New(p)
	}
	return nil
}

// datacenter is the agent's own, as the leaf says it, or "" if ctx is done
// before there is one. Asking the agent would take a permission more.
func (d *duty) datacenter(ctx context.Context) string {
	if d.await(ctx) != nil {
		return ""
	}
	return d.identity.current.Load().leaf.id.datacenter
}

// guard adds what makes a listener a public one.
func (d *duty) guard(o *listener.Options, s spec) {
	o.Handshake = d.identity.Handshake(serverTLS{MinVersion: s.public.MinTLS, ALPN: s.public.ALPN})
	o.Authorize = d.authorizer.Authorize
}

// problem says why the proxy cannot prove who it is, or is empty.
func (d *duty) problem() string {
	if p := d.identity.Problem(); p != "" {
		return fmt.Sprintf("identity of service %s: %s", d.key.service, p)
	}
	return ""
}

func (d *duty) close() {
	if d == nil {
		return
	}
	d.authorizerTask.stop()
	d.identityTask.stop()
}
