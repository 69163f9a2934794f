package connectproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"sync"
	"sync/atomic"

	"connect-proxy/listener"
	"connect-proxy/upstream"
)

// principal is whom listeners stand for in the mesh: an identity, and at times
// another that takes its place once it can be proved, so that nothing is refused
// between the two. The loop alone writes to it.
type principal struct {
	name    string // that specs have for it
	current atomic.Pointer[runningIdentity]
	next    atomic.Pointer[runningIdentity] // nil when none waits
}

// inUse returns the identity of the moment.
func (p *principal) inUse() *runningIdentity { return p.current.Load() }

// dial and session are those of the identity in use.
func (p *principal) dial(ctx context.Context, ep upstream.Endpoint) (net.Conn, error) {
	return p.inUse().Dial(ctx, ep)
}

func (p *principal) session(c net.Conn) listener.SessionInfo { return p.inUse().Session(c) }

// await returns once the identity in use can be proved, so that no instance is
// blamed for what is missing here.
func (p *principal) await(ctx context.Context) error { return p.inUse().await(ctx) }

// want makes o the identity to be. start starts another.
func (p *principal) want(o IdentityOptions, start func(IdentityOptions) *runningIdentity) {
	current, next := p.current.Load(), p.next.Load()
	switch {
	case current == nil:
		p.current.Store(start(o))
	case reflect.DeepEqual(current.options, o):
		p.next.Store(nil)
		next.stop()
	case next == nil || !reflect.DeepEqual(next.options, o):
		p.next.Store(start(o))
		next.stop()
	}
}

// switchOver puts the identity that waits in use if it can be proved, and
// returns the one it replaces, or nil.
func (p *principal) switchOver() (replaced *runningIdentity) {
	next := p.next.Load()
	if next == nil || !next.ready() {
		return nil
	}
	replaced = p.current.Swap(next)
	p.next.Store(nil)
	return replaced
}

// reason returns why an identity cannot be proved, for readiness: the one in use,
// or else the one that waits. It is empty if nothing is wrong.
func (p *principal) reason() string {
	if r := p.inUse().reason(); r != "" {
		return r
	}
	if next := p.next.Load(); next != nil {
		return next.reason()
	}
	return ""
}

func (p *principal) stop() {
	p.next.Load().stop()
	p.current.Load().stop()
}

// runningIdentity is an Identity with the goroutine that runs it.
type runningIdentity struct {
	Identity
	options IdentityOptions
	task    *task
}

// startIdentity runs i until ctx or the identity is stopped, and calls ready
// when it can be proved.
func startIdentity(ctx context.Context, i Identity, o IdentityOptions, ready func()) *runningIdentity {
	r := &runningIdentity{Identity: i, options: o}
	r.task = startTask(ctx, func(ctx context.Context) error {
		var announcing sync.WaitGroup
		defer announcing.Wait()
		announcing.Go(func() {
			select {
			case <-i.Ready():
				ready()
			case <-ctx.Done():
			}
		})
		return i.Run(ctx)
	})
	return r
}

// stop ends the identity and waits for it. A nil one has ended.
func (r *runningIdentity) stop() {
	if r != nil {
		r.task.stop()
	}
}

// ready reports whether it could be proved at any time.
func (r *runningIdentity) ready() bool {
	select {
	case <-r.Ready():
		return true
	default:
		return false
	}
}

// valid reports whether it can be proved at this moment.
func (r *runningIdentity) valid() bool { return r.ready() && r.Problem() == "" }

func (r *runningIdentity) await(ctx context.Context) error {
	if !r.ready() {
		select {
		case <-r.Ready():
		case <-ctx.Done():
			return fmt.Errorf("waiting for certificates: %w: %s", ctx.Err(), r.Problem())
		}
	}
	if p := r.Problem(); p != "" {
		return errors.New(p)
	}
	return nil
}

// reason returns why it cannot be proved, for readiness; empty if it can.
func (r *runningIdentity) reason() string {
	if p := r.Problem(); p != "" {
		return fmt.Sprintf("identity %s: %s", r.options.who(), p)
	}
	return ""
}
