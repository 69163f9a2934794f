package connectproxy

import (
	"cmp"
	"context"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/listener"
	"connect-proxy/upstream/backoff"
)

// boundListener is one listener of the proxy: the socket, or the attempts to bind
// it, and the place where its connections go.
type boundListener struct {
	logger hclog.Logger

	// internal is the socket of a listener without an address; nil for others.
	internal    net.Listener
	binding     context.Context // done once there is no use in a socket any more
	stopBinding context.CancelFunc
	task        *task
	drainTask   *task // a bounded wait for the last connections; may be nil

	mu          sync.Mutex // guards what follows
	spec        *spec
	options     listener.Options
	destination *destination       // where an upstream's connections go; nil for the public role
	ln          *listener.Listener // nil while not bound
	problem     string             // of binding
	leaving     bool
}

// bindListener makes the first attempt to bind the socket of s, so that what is
// to go can be stopped afterwards. Whether or not that worked, start is to be
// called next.
func bindListener(ctx context.Context, s *spec, o listener.Options, to *destination, internal net.Listener, l hclog.Logger) *boundListener {
	b := &boundListener{
		logger:      l,
		internal:    internal,
		destination: to,
		spec:        s,
		options:     o,
	}
	b.binding, b.stopBinding = context.WithCancel(ctx)
	_ = b.bind() // start goes on from here
	return b
}

// start serves the socket until ctx is done or the listener is left, and goes on
// trying to bind it before.
func (b *boundListener) start(ctx context.Context) {
	b.task = startTask(ctx, func(ctx context.Context) error {
		defer b.stopBinding()
		if b.listener() == nil && !b.rebind() {
			return nil
		}
		return b.listener().Run(ctx)
	})
}

// bind tries once.
func (b *boundListener) bind() error {
	b.mu.Lock()
	address := b.spec.bind
	b.mu.Unlock()
	ln, err := b.internal, error(nil)
	if ln == nil {
		ln, err = listener.Listen(b.binding, address.Network(), address.String(), address.Mode)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil && b.leaving {
		_ = ln.Close()
		return context.Canceled
	}
	if err == nil {
		if b.ln, err = listener.New(ln, b.options); err != nil {
			_ = ln.Close()
		}
	}
	if err != nil {
		b.problem = err.Error()
		return err
	}
	b.problem = ""
	return nil
}

// rebind goes on after the first attempt has failed: the port may still be held
// by a predecessor, or the address not be up yet. It logs each reason once, and
// reports whether the socket is bound in the end.
func (b *boundListener) rebind() bool {
	var retry backoff.Backoff
	start, logged := time.Now(), ""
	for {
		wait, problem, log := retry.Next(), b.bindProblem(), b.named().Debug
		if problem != logged {
			log, logged = b.named().Warn, problem
		}
		log("cannot listen", "error", problem, "retry_in", wait.String())
		if !backoff.Sleep(b.binding, wait) {
			return false
		}
		if b.bind() == nil {
			b.named().Info("listening at last", "duration", time.Since(start).Round(time.Millisecond).String())
			return true
		}
	}
}

func (b *boundListener) bindProblem() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.problem
}

// named is the logger with the listener's name in it, which few ever need.
func (b *boundListener) named() hclog.Logger {
	s := b.currentSpec()
	return b.logger.With("listener", s.name, "address", s.address())
}

// public reports whether it faces other proxies.
func (b *boundListener) public() bool { return b.currentSpec().key.role == rolePublic }

func (b *boundListener) listener() *listener.Listener {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ln
}

// currentSpec returns the one in force.
func (b *boundListener) currentSpec() *spec {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.spec
}

// currentDestination returns where an upstream's connections go.
func (b *boundListener) currentDestination() *destination {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.destination
}

// update puts other options in force on the same socket, and to in the place of
// the destination.
func (b *boundListener) update(s *spec, o listener.Options, to *destination) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if was := b.spec.bind.Mode; s.bind.Path != "" && s.bind.Mode != 0 && s.bind.Mode != was && b.ln != nil {
		if err := os.Chmod(s.bind.Path, s.bind.Mode); err != nil {
			b.logger.Warn("cannot change the mode of the socket", "listener", s.name, "address", s.address(), "error", err)
		}
	}
	b.spec, b.options, b.destination = s, o, to
	if b.ln != nil {
		b.ln.Update(o)
	}
}

// adopt takes a spec in the place of one that says the same.
func (b *boundListener) adopt(s *spec) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spec = s
}

// stopListening closes the socket and takes no new connection. Open ones go on.
func (b *boundListener) stopListening() {
	b.mu.Lock()
	b.leaving = true
	ln := b.ln
	b.mu.Unlock()
	b.stopBinding()
	if ln != nil {
		ln.StopAccepting()
	}
}

// drain leaves, waits until ctx is done for the open connections, then cuts
// them. It reports whether all had ended by themselves.
func (b *boundListener) drain(ctx context.Context) bool {
	b.stopListening()
	ln := b.listener()
	return ln == nil || ln.Drain(ctx) == nil
}

// drainFor has the listener drain for no longer than limit, and does not wait for
// it.
func (b *boundListener) drainFor(base context.Context, limit time.Duration) {
	b.drainTask = startTask(base, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		b.drain(ctx)
		return nil
	})
}

// close cuts everything and waits for it.
func (b *boundListener) close() {
	b.stopListening()
	b.task.stop()
	b.drainTask.stop()
	if to := b.currentDestination(); to != nil {
		to.close()
	}
}

// live counts the connections that are open.
func (b *boundListener) live() int {
	if ln := b.listener(); ln != nil {
		return ln.Live()
	}
	return 0
}

func (b *boundListener) status(now time.Time) ListenerStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := ListenerStatus{
		Name:    b.spec.name,
		Role:    string(b.spec.key.role),
		Address: b.spec.address(),
		To:      b.spec.to(),
		Leaving: b.leaving,
		Problem: b.problem,
	}
	if b.options.InProcess != nil {
		s.To = inProcess
	}
	if b.destination != nil {
		s.Upstream = b.destination.status(now)
	}
	if b.ln == nil {
		return s
	}
	s.Live, s.OverLimit = b.ln.Live(), b.ln.OverLimit()
	s.Handshakes, s.Authorizations = b.ln.Pending()
	if !b.leaving {
		s.Bound = b.ln.Addr().String()
		s.Problem = b.ln.Problem()
	}
	return s
}

// trouble reports whether the listener is not bound or has a problem, its own or
// the one given, and what there is to say of it then.
func (b *boundListener) trouble(problem string) (ListenerStatus, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := ListenerStatus{Problem: b.problem}
	if b.ln != nil {
		s.Problem = b.ln.Problem()
	}
	s.Problem = cmp.Or(s.Problem, problem)
	if b.leaving || b.ln != nil && s.Problem == "" {
		return ListenerStatus{}, false
	}
	s.Name, s.Address = b.spec.name, b.spec.address()
	return s, true
}
