package connectproxy

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/listener"
)

// member is one listener of the proxy: the socket, or the attempts to bind it,
// and the place where its connections go.
type member struct {
	logger hclog.Logger

	binding     context.Context // done once there is no use in a socket any more
	stopBinding context.CancelFunc
	task        *task
	leaver      *task // a bounded wait for the last connections; may be nil

	mu      sync.Mutex // guards what follows
	spec    spec
	options listener.Options
	outlet  *outlet            // where an upstream's connections go; nil for the public role
	ln      *listener.Listener // nil while not bound
	problem string             // of binding
	leaving bool
}

// openMember binds the socket of s and serves it until ctx is done or the
// member is left. The first attempt to bind is made before it returns, so that
// what is to go can be stopped afterwards; the others are made for ever.
func openMember(ctx context.Context, s spec, o listener.Options, out *outlet, l hclog.Logger) *member {
	m := &member{
		logger:  l.With("listener", s.name, "address", s.bind.String()),
		outlet:  out,
		spec:    s,
		options: o,
	}
	m.binding, m.stopBinding = context.WithCancel(ctx)
	err := m.bind()
	m.task = begin(ctx, func(ctx context.Context) error {
		defer m.stopBinding()
		if err != nil && !m.rebind(err) {
			return nil
		}
		return m.listener().Run(ctx)
	})
	return m
}

// bind tries once.
func (m *member) bind() error {
	m.mu.Lock()
	address := m.spec.bind
	m.mu.Unlock()
	ln, err := listener.Listen(m.binding, address.Network(), address.String(), address.Mode)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil && m.leaving {
		_ = ln.Close()
		return context.Canceled
	}
	if err == nil {
		m.ln, err = listener.New(ln, m.options)
	}
	if err != nil {
		m.problem = err.Error()
		return err
	}
	m.problem = ""
	return nil
}

// rebind goes on after the first attempt failed with err: the port may still be
// held by a predecessor, or the address not be up yet. It says so once, and
// whether the socket is bound in the end.
func (m *member) rebind(err error) bool {
	var retry backoff
	wait := retry.next()
	m.logger.Warn("cannot listen", "error", err, "retry_in", wait.String())
	start := time.Now()
	for {
		if !sleep(m.binding, wait) {
			return false
		}
		err := m.bind()
		if err == nil {
			m.logger.Info("listening at last", "duration", time.Since(start).Round(time.Millisecond).String())
			return true
		}
		wait = retry.next()
		m.logger.Debug("still cannot listen", "error", err, "retry_in", wait.String())
	}
}

func (m *member) listener() *listener.Listener {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ln
}

// wants is the spec in force.
func (m *member) wants() spec {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.spec
}

// leadsTo is where an upstream's connections go.
func (m *member) leadsTo() *outlet {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.outlet
}

// update puts other options in force on the same socket, and out in the place
// of the outlet.
func (m *member) update(s spec, o listener.Options, out *outlet) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if was := m.spec.bind.Mode; s.bind.Path != "" && s.bind.Mode != 0 && s.bind.Mode != was && m.ln != nil {
		if err := os.Chmod(s.bind.Path, s.bind.Mode); err != nil {
			m.logger.Warn("cannot change the mode of the socket", "error", err)
		}
	}
	m.spec, m.options, m.outlet = s, o, out
	if m.ln != nil {
		m.ln.Update(o)
	}
}

// leave closes the socket and takes no new connection. Open ones go on.
func (m *member) leave() {
	m.mu.Lock()
	m.leaving = true
	ln := m.ln
	m.mu.Unlock()
	m.stopBinding()
	if ln != nil {
		ln.StopAccepting()
	}
}

// drain leaves, waits until ctx is done for the open connections, then cuts
// them. It says whether all had ended by themselves.
func (m *member) drain(ctx context.Context) bool {
	m.leave()
	ln := m.listener()
	return ln == nil || ln.Drain(ctx) == nil
}

// close cuts everything and waits for it.
func (m *member) close() {
	m.leave()
	m.task.stop()
	m.leaver.stop()
	if out := m.leadsTo(); out != nil {
		out.close()
	}
}

// live counts the connections that are open.
func (m *member) live() int {
	if ln := m.listener(); ln != nil {
		return ln.Live()
	}
	return 0
}

func (m *member) status(now time.Time) ListenerStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := ListenerStatus{
		Name:    m.spec.name,
		Role:    string(m.spec.key.role),
		Address: m.spec.bind.String(),
		To:      m.spec.to(),
		Leaving: m.leaving,
		Problem: m.problem,
	}
	if m.outlet != nil {
		s.Upstream = m.outlet.status(now)
	}
	if m.ln == nil {
		return s
	}
	s.Live = m.ln.Live()
	if !m.leaving {
		s.Bound = m.ln.Addr().String()
		s.Problem = m.ln.Problem()
	}
	return s
}

// to is where connections go, for people.
func (s spec) to() string {
	if s.public != nil {
		return display(s.public.Local)
	}
	return s.upstream.Destination.String()
}

// display is an address as people write it in a configuration.
func display(a config.Address) string {
	if a.Path != "" {
		return "unix:" + a.Path
	}
	return a.String()
}

// dialLocal opens a connection to the application at a.
func dialLocal(a config.Address) listener.DialFunc {
	d := listener.NewDialer()
	return func(ctx context.Context) (listener.Target, error) {
		c, err := d.DialContext(ctx, a.Network(), a.String())
		if err != nil {
			return listener.Target{}, err
		}
		return listener.Target{Conn: c, Instance: listener.Instance{Address: display(a)}}, nil
	}
}

// sleep says whether d passed before ctx was done.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
