package upstream

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

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

	trouble      // guarded by Upstream.mu
	listed  bool // it is in the set; guarded likewise
}

// trouble is the record of an instance's failures.
type trouble struct {
	failures int   // in a row
	aside    int   // times set aside in a row
	since    int64 // when it was last set aside or cleared
	last     error
	// distrusted is set by a failure that came after a connection was taken: that
	// one is taken then says little.
	distrusted bool
}

// claim is a right to try an instance.
type claim struct {
	*instanceSlot
	probe bool
	// lastResort is set where the instance is set aside.
	lastResort bool
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
		u.remake()
	}
	u.mu.Unlock()
	if was.aside > 0 {
		u.logInstance(hclog.Info, "instance works again", c)
	}
}

// logInstance logs what has become of an instance, of many at one moment the first few
// alone but at debug level.
func (u *Upstream) logInstance(level hclog.Level, message string, c claim, more ...any) {
	args := append([]any{"upstream", u.options.Load().Name, "instance", c.ep.ID, "address", c.ep.Address}, more...)
	ok, left := u.lines.Take(time.Now())
	if !ok {
		level = hclog.Debug
	}
	if left > 0 {
		args = append(args, "suppressed", left)
	}
	u.log.Log(level, message, args...)
}

// distrusted reports whether the instance has to prove itself by a connection that
// lasts.
func (u *Upstream) distrusted(c claim) bool {
	if !c.troubled.Load() {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return c.trouble.distrusted
}

// failedLater is failed for a connection that the instance had taken.
func (u *Upstream) failedLater(c claim, err error) {
	u.mu.Lock()
	c.trouble.distrusted = true
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
		u.log.Debug("instance failed", "upstream", u.options.Load().Name, "instance", c.ep.ID, "address", c.ep.Address,
			"reason", reasonOf(err).String(), "error", err)
		return
	}
	u.logInstance(hclog.Warn, "instance set aside", c,
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
	if !c.probe && (in.failures < o.MaxFailures || !u.maySetAside(o)) {
		return 0
	}
	in.aside++
	u.asides[reasonOf(err)].Add(1)
	d := longer(o.SetAside, o.MaxSetAside, in.aside)
	now := u.now()
	in.since = now
	in.until.Store(now + int64(d))
	in.probing.Store(false)
	u.remake()
	return d
}

// maySetAside reports whether one more instance may be set aside. The caller
// holds mu.
func (u *Upstream) maySetAside(o *Options) bool {
	if o.NeverSetAside || o.MaxSetAsidePercent <= 0 {
		return !o.NeverSetAside
	}
	aside, now := 0, u.now()
	for i := range u.slots {
		if u.slots[i].until.Load() > now {
			aside++
		}
	}
	return aside == 0 || (aside+1)*100 <= o.MaxSetAsidePercent*len(u.slots)
}

// longer doubles d for each time after the first, up to most, give or take a
// quarter so that the proxies of a fleet do not probe in step.
func longer(d, most time.Duration, times int) time.Duration {
	most = max(d, most)
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
