package systemtest_test

import (
	"sync"
	"testing"
	"time"
)

// maxAtWork is how many tests work at a time, beside any number that only wait:
// what an agent and its proxies do within seconds is asserted, and many machines
// have two processors.
const maxAtWork = 2

// places are what tests that run in parallel share out among themselves. Package
// testing's own (-parallel) cannot be given away for the time of a wait.
var places = newWorkplaces()

type workplaces struct {
	mu     sync.Mutex // guards what follows
	free   *sync.Cond
	taken  int
	owners map[*testing.T]bool
}

func newWorkplaces() *workplaces {
	p := &workplaces{owners: map[*testing.T]bool{}}
	p.free = sync.NewCond(&p.mu)
	return p
}

// parallel has the test run beside others once there is a place for it. Its
// subtests run in its own place: those with places of their own would wait for
// it for ever.
func parallel(t *testing.T) {
	t.Helper()
	t.Parallel()
	began := time.Now()
	places.take(t)
	t.Cleanup(func() { places.leave(t) })
	t.Logf("had a place after %s", time.Since(began).Round(time.Second))
}

// waiting runs f, which only waits for time to pass, and lets another test of
// this package work meanwhile if t has a place. When f is over the test goes on
// at once, even if that makes one more than there are places: what it measures
// must not depend on others.
func waiting(t *testing.T, f func()) {
	t.Helper()
	if places.leave(t) {
		defer places.retake(t)
	}
	f()
}

func (p *workplaces) take(t *testing.T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.taken >= maxAtWork {
		p.free.Wait()
	}
	p.taken++
	p.owners[t] = true
}

func (p *workplaces) retake(t *testing.T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken++
	p.owners[t] = true
}

// leave reports whether t had a place to leave.
func (p *workplaces) leave(t *testing.T) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.owners[t] {
		return false
	}
	delete(p.owners, t)
	p.taken--
	p.free.Signal()
	return true
}
