package upstream

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// maxSetAside is the longest time that an instance is set aside for.
const maxSetAside = time.Minute

// instanceKey tells instances apart: one that moved to another address starts
// afresh.
type instanceKey struct{ id, address string }

// instance is what is remembered of an endpoint for as long as it is in the set.
// Times are nanoseconds of the Upstream's clock.
type instance struct {
	// live counts connections, those being dialled included.
	live atomic.Int64
	// until is when the time set aside ends; zero while in use. After that
	// time the instance is on probation: probing admits one attempt at a time.
	until   atomic.Int64
	probing atomic.Bool
	// troubled says that a success has something to clear, so that the common
	// success takes no lock.
	troubled atomic.Bool

	trouble // guarded by Upstream.mu
}

// trouble is the record of an instance's failures.
type trouble struct {
	failures int   // in a row
	aside    int   // times set aside in a row
	since    int64 // when it was last set aside or cleared
	last     error
	// doubted is set by a failure that came after a connection was taken: that
	// one is taken then says little.
	doubted bool
}

// claim is a right to try an instance.
type claim struct {
	*slot
	probe bool
	// start is when it was taken.
	start int64
}

// claim reports whether the instance may be tried, and takes the probe if it is
// on probation.
func (in *instance) claim(now int64) (probe, ok bool) {
	until := in.until.Load()
	switch {
	case until == 0:
		return false, true
	case until > now:
		return false, false
	}
	probe = in.probing.CompareAndSwap(false, true)
	return probe, probe
}

// succeeded clears the instance's record.
func (u *Upstream) succeeded(c claim) {
	if !c.troubled.Load() {
		return
	}
	u.mu.Lock()
	was := c.trouble
	c.trouble = trouble{since: u.now()}
	c.until.Store(0)
	c.probing.Store(false)
	c.troubled.Store(false)
	if was.aside > 0 {
		u.rebuild()
	}
	u.mu.Unlock()
	if was.aside > 0 {
		u.log.Info("instance works again", "instance", c.ep.ID, "address", c.ep.Address)
	}
}

// doubted reports whether the instance has to prove itself by a connection that
// lasts.
func (u *Upstream) doubted(c claim) bool {
	if !c.troubled.Load() {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return c.trouble.doubted
}

// failedLater is failed for a connection that the instance had taken.
func (u *Upstream) failedLater(c claim, err error) {
	u.mu.Lock()
	c.trouble.doubted = true
	c.troubled.Store(true)
	u.mu.Unlock()
	u.failed(c, u.options.Load(), err)
}

// failed adds to the instance's record, unless the attempt was made before the
// instance was set aside or in spite of it: the failures of connections made at
// the same moment are one piece of news, not many.
func (u *Upstream) failed(c claim, o *Options, err error) {
	u.failures[reasonOf(err)].Add(1)
	u.mu.Lock()
	d := u.noteFailure(c, o, err)
	u.mu.Unlock()
	if d == 0 {
		u.log.Debug("instance failed", "instance", c.ep.ID, "address", c.ep.Address,
			"reason", reasonOf(err).String(), "error", err)
		return
	}
	u.log.Warn("instance set aside", "instance", c.ep.ID, "address", c.ep.Address,
		"reason", reasonOf(err).String(), "error", err, "retry_in", d.Round(time.Millisecond).String())
}

// noteFailure returns for how long the failure sets the instance aside.
func (u *Upstream) noteFailure(c claim, o *Options, err error) time.Duration {
	in := c.instance
	if !c.probe && c.start < in.since {
		return 0
	}
	in.last = err
	if !c.probe && in.until.Load() != 0 {
		return 0
	}
	in.failures++
	in.troubled.Store(true)
	if !c.probe && in.failures < o.MaxFailures {
		return 0
	}
	in.aside++
	d := longer(o.SetAside, in.aside)
	now := u.now()
	in.since = now
	in.until.Store(now + int64(d))
	in.probing.Store(false)
	u.rebuild()
	return d
}

// longer doubles d for each time after the first, up to maxSetAside, give or
// take a quarter so that the proxies of a fleet do not probe in step.
func longer(d time.Duration, times int) time.Duration {
	most := max(d, maxSetAside)
	for ; times > 1 && d < most; times-- {
		d *= 2
	}
	d = min(d, most)
	return d - d/4 + rand.N(d/2+1)
}

// abandoned ends an attempt that says nothing about the instance.
func (c claim) abandoned() {
	if c.probe {
		c.probing.Store(false)
	}
}
