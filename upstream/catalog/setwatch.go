package catalog

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/upstream"
	"connect-proxy/upstream/watch"
)

// setWatch keeps one Set fresh, at the pace of its destination's usage.
type setWatch struct {
	*watch.Watch[upstream.Set]
	usage *usage
}

// fetchSet asks the agent for a Set.
type fetchSet func(ctx context.Context) (upstream.Set, error)

// setOptions describe a setWatch.
type setOptions struct {
	name  string
	fetch fetchSet
	// pace is asked after each answer.
	pace func() time.Duration
	// remote says that the question may lead to another datacenter.
	remote bool
	// first is when it is asked for the first time.
	first time.Duration
	// notify is watch.Options.Notify.
	notify func()
}

// watchSet has o asked for from now on.
func (c *Catalog) watchSet(u *usage, o setOptions) setWatch {
	w := watch.New(watch.Options[upstream.Set]{
		Name: o.name,
		Fetch: func(ctx context.Context, _ watch.Cursor, _ time.Duration) (upstream.Set, watch.Cursor, error) {
			s, err := o.fetch(ctx)
			return s, watch.Cursor{}, err
		},
		Equal:  upstream.Set.Equal,
		Pace:   o.pace,
		Notify: o.notify,
		Logger: c.o.Logger,
	})
	c.destinations.Add(1)
	w.Schedule(c.line(o.remote), o.first, u.recent)
	return setWatch{Watch: w, usage: u}
}

func (w setWatch) Set() (upstream.Set, bool)       { return w.Latest() }
func (w setWatch) Status() upstream.ResolverStatus { return upstream.ResolverStatus(w.Watch.Status()) }
func (w setWatch) Use(ctx context.Context) bool    { return w.usage.use(ctx, w.confirm) }

// Close is Resolver's.
func (w setWatch) Close() {
	if w.Unschedule() {
		w.usage.c.destinations.Add(-1)
	}
}

func (w setWatch) confirm(ctx context.Context) { w.confirmSince(ctx, w.refresh()) }

// refresh has the agent asked soon, and returns what confirmSince wants.
func (w setWatch) refresh() (asked uint64) {
	asked = w.Asked()
	w.Refresh()
	return asked
}

// confirmSince waits for the answer to a question after the first so many, unless
// the agent's word is fresh and there is somewhere to go by it.
func (w setWatch) confirmSince(ctx context.Context, asked uint64) {
	if s, _ := w.Latest(); len(s.Endpoints) > 0 && time.Since(w.Watch.Status().Fresh) <= freshEnough {
		return
	}
	_ = w.Confirm(ctx, asked) // ctx's error
}

// setLogger logs how many instances a destination has, when that changes.
type setLogger struct {
	logger hclog.Logger
	name   string // of the destination
	known  bool
	count  int
}

func (l *setLogger) logChange(s upstream.Set) {
	first, before, now := !l.known, l.count, len(s.Endpoints)
	l.known, l.count = true, now
	switch {
	case now == 0 && (first || before > 0):
		l.logger.Warn("no healthy instance", "upstream", l.name)
	case now > 0 && before == 0:
		l.logger.Info("instances found", "upstream", l.name, "count", now)
	case now != before:
		l.logger.Debug("instances changed", "upstream", l.name, "count", now)
	}
}
