package catalog

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// takeOver puts a chain in force. The set of the old one stays until there is
// one of the new.
func (c *chainResolver) takeOver(n compiledChain) {
	if c.inForce.equal(n) {
		return
	}
	if n.written || c.inForce.written {
		c.c.o.Logger.Info("discovery chain in force", "service", c.o.Name, "targets", strings.Join(n.names(), ", "))
	}
	c.inForce, c.chosen = n, ""
	c.keepTargets(func(t *targetWatch) bool { return n.asks(t.question) })
}

// selectTarget publishes the set of the first target that has healthy instances.
// While a target may still answer, what there was before stays. The caller holds
// mu.
func (c *chainResolver) selectTarget(now time.Time) {
	n, ok := c.compiled.Latest()
	if !ok || c.closed {
		return
	}
	c.takeOver(n)
	answers := c.compiled.Status().Err == nil // the agent does
	next := timePoint{now: now}
	needed := 0                   // how many of the targets are
	var doubted, empty *published // the first of each, for want of a healthy one
	var found *published
	for i := range n.targets {
		t := &n.targets[i]
		w := c.target(t.question)
		needed = i + 1
		a := w.assess(now)
		next.include(a.until)
		p := &published{set: withTarget(a.set, *t), source: w}
		if a.state == targetHealthy || a.state == targetDoubted && !answers { // nothing is fresher than that
			c.logTarget(i)
			found = p
			break
		}
		if a.state == targetAwaited {
			doubted, empty = nil, nil
			break
		}
		if a.state == targetDoubted && doubted == nil {
			doubted = p
		}
		if a.known && empty == nil {
			empty = p
		}
	}
	c.trimTargets(n.targets[:needed], now, &next)
	c.wakeAt(next)
	if p := cmp.Or(found, doubted, empty); p != nil {
		c.publish(p)
	}
}

// target returns what is known of q, which is asked for from now on.
func (c *chainResolver) target(q question) *targetWatch {
	for _, t := range c.targets {
		if t.question == q {
			return t
		}
	}
	t := c.c.watchTarget(q, c.o.Poll, &c.usage, c.update)
	c.targets = append(c.targets, t)
	return t
}

// trimTargets stops watching what has not been needed for some time.
func (c *chainResolver) trimTargets(needed []target, now time.Time, next *timePoint) {
	c.keepTargets(func(t *targetWatch) bool {
		switch {
		case slices.ContainsFunc(needed, func(n target) bool { return n.question == t.question }):
			t.unneeded = time.Time{}
			return true
		case t.unneeded.IsZero():
			t.unneeded = now
		}
		next.include(t.unneeded.Add(keepWatching))
		return now.Before(t.unneeded.Add(keepWatching))
	})
}

// keepTargets stops watching the targets that keep does not want.
func (c *chainResolver) keepTargets(keep func(*targetWatch) bool) {
	c.targets = slices.DeleteFunc(c.targets, func(t *targetWatch) bool {
		if keep(t) {
			return false
		}
		t.close()
		return true
	})
}

// logTarget says which target is in use, the i-th, when that changes.
func (c *chainResolver) logTarget(i int) {
	t := c.inForce.targets[i]
	switch {
	case c.chosen == t.id:
		return
	case i > 0:
		c.c.o.Logger.Warn("failing over", "service", c.o.Name, "target", t.id, "reason", "no healthy instance of "+c.inForce.targets[0].id)
	case c.chosen != "":
		c.c.o.Logger.Info("failing back", "service", c.o.Name, "target", t.id)
	}
	c.chosen = t.id
}

// publish makes p the state to be seen, with news only if its set is another.
func (c *chainResolver) publish(p *published) {
	old := c.current.Load()
	if old != nil && old.set.Equal(p.set) {
		p.set = old.set
		c.current.Store(p)
		return
	}
	c.current.Store(p)
	c.sets.logChange(p.set)
	c.Notify()
}

// wakeAt has the targets looked at again at a moment, if there is one.
func (c *chainResolver) wakeAt(next timePoint) {
	switch {
	case next.at.IsZero() && c.again != nil:
		c.again.Stop()
		c.again = nil // most of the time there is no need of it
	case next.at.IsZero():
	case c.again == nil:
		c.again = time.AfterFunc(next.at.Sub(next.now), c.update)
	default:
		c.again.Reset(next.at.Sub(next.now))
	}
}

// timePoint is the first of some moments that are to come.
type timePoint struct{ now, at time.Time }

func (p *timePoint) include(t time.Time) {
	if t.After(p.now) && (p.at.IsZero() || t.Before(p.at)) {
		p.at = t
	}
}
