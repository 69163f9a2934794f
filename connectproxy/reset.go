package connectproxy

import (
	"time"

	"connect-proxy/config"
	"connect-proxy/listener"
)

// resetWindow is for how long after a change of a destination's instances
// connections are looked at: some may have been on their way to one that is gone.
const resetWindow = 30 * time.Second

// instanceKey tells the instances of a destination apart.
type instanceKey struct{ id, address string }

// instanceChange is what a destination's instances are since they were others, a short
// while ago.
type instanceChange struct {
	instances map[instanceKey]bool
	since     time.Time
}

// instanceChange returns nil where the instances are as they were, and for those that
// came at first.
func (d *destination) instanceChange(now time.Time) *instanceChange {
	in, ok := d.up.InUse()
	if !ok || in.Changes < 2 || now.Sub(in.Since) >= resetWindow {
		return nil
	}
	c := &instanceChange{make(map[instanceKey]bool, len(in.Endpoints)), in.Since}
	for _, ep := range in.Endpoints {
		c.instances[instanceKey{ep.ID, ep.Address}] = true
	}
	return c
}

// resets reports whether a connection is to be reset.
func (i *instanceChange) resets(c listener.Connection, by config.ResetOnChange) bool {
	switch {
	case c.Instance.Address == "": // not yet on its way
		return false
	case by == config.ResetAll:
		return c.Dialling.Before(i.since)
	}
	return !i.instances[instanceKey{c.Instance.ID, c.Instance.Address}]
}

// resetChanged resets the connections of upstreams that want so when the instances
// of their destination have changed.
func (l *loop) resetChanged() {
	now := time.Now()
	l.resetDynamic(now)
	for _, b := range l.all() {
		s, to, ln := b.currentSpec(), b.currentDestination(), b.listener()
		if to == nil || ln == nil || s.upstream.ResetOnChange == config.ResetNone {
			continue
		}
		if change := to.instanceChange(now); change != nil {
			l.logReset(s.name, ln.CloseConnections(func(c listener.Connection) bool {
				return change.resets(c, s.upstream.ResetOnChange)
			}, listener.ReasonDestinationChanged))
		}
	}
}

// resetDynamic is resetChanged for destinations that were named at run time.
func (l *loop) resetDynamic(now time.Time) {
	with := l.dynamic.settings.Load()
	if with == nil || with.spec.upstream.ResetOnChange == config.ResetNone {
		return
	}
	changed := map[config.Destination]*instanceChange{}
	for _, i := range l.dynamic.List() {
		if to, ok := i.Upstream.(*dynamicDestination); ok {
			if change := to.instanceChange(now); change != nil {
				changed[i.Destination] = change
			}
		}
	}
	if len(changed) == 0 {
		return
	}
	for _, b := range l.all() {
		ln := b.listener()
		if ln == nil || !b.currentSpec().named() {
			continue
		}
		reset := map[config.Destination]int{}
		ln.CloseConnections(func(c listener.Connection) bool {
			to, _ := c.Destination.(config.Destination)
			change := changed[to]
			if change == nil || !change.resets(c, with.spec.upstream.ResetOnChange) {
				return false
			}
			reset[to]++
			return true
		}, listener.ReasonDestinationChanged)
		for to, n := range reset {
			l.logReset(to.String(), n)
		}
	}
}

func (l *loop) logReset(upstream string, n int) {
	if n > 0 {
		l.logger.Info("connections reset since the instances of their destination changed", "upstream", upstream, "connections", n)
	}
}
