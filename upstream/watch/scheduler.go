package watch

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Scheduler asks the questions of many watches, one at a time and on one
// goroutine: a watch that has nothing to ask costs no goroutine and no timer of
// its own. Of the questions that are due, the urgent ones go first, and else the
// one that has been due for longest.
type Scheduler struct {
	// wake holds one call to look again at what is due.
	wake chan struct{}

	mu      sync.Mutex   // guards what follows and all that is scheduled
	waiting timeline     // tasks that are not due yet
	ready   []*scheduled // those that are, in the order in which they became so
	// recovered is closed once the agent can be reached again; nil while it can.
	recovered <-chan struct{}
}

// NewScheduler makes a Scheduler, which asks nothing before Run.
func NewScheduler() *Scheduler { return &Scheduler{wake: make(chan struct{}, 1)} }

// asker is what a Scheduler needs of a Watch.
type asker interface {
	// askOnce asks, and returns the time until the question is due again.
	askOnce(ctx context.Context) (next time.Duration)
	// outage is closed once the agent can be reached again, and nil if the last
	// question did not fail for want of that.
	outage() <-chan struct{}
}

// scheduled is a question's place in a Scheduler.
type scheduled struct {
	asker  asker
	urgent func() bool
	due    time.Time
	asked  time.Time // when it was last asked
	place  int       // in waiting, or one of those below
	// again has the question asked anew as soon as it has been answered.
	again bool
	// stranded is set while it waits for the agent to be reachable.
	stranded bool
	cancel   context.CancelFunc // ends the question under way; nil without one
}

// Places of what is not waiting for its time.
const (
	placeNone  = -1 // removed, or being asked
	placeReady = -2
)

// Run asks until ctx is done and returns ctx's error. Only one Run at a time.
func (s *Scheduler) Run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		t, wait, recovered := s.next(time.Now())
		if t != nil {
			s.query(ctx, t)
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-s.wake:
		case <-recovered:
			s.hurryStranded(time.Now())
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// next takes the question that is to be asked now, or says how long there is
// none.
func (s *Scheduler) next(now time.Time) (t *scheduled, wait time.Duration, recovered <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.waiting) > 0 && !s.waiting[0].due.After(now) {
		t := heap.Pop(&s.waiting).(*scheduled)
		t.place = placeReady
		s.ready = append(s.ready, t)
	}
	if len(s.ready) == 0 {
		wait = time.Hour
		if len(s.waiting) > 0 {
			wait = s.waiting[0].due.Sub(now)
		}
		return nil, wait, s.recovered
	}
	i := max(0, slices.IndexFunc(s.ready, func(t *scheduled) bool { return t.urgent() }))
	t = s.ready[i]
	s.ready = slices.Delete(s.ready, i, i+1)
	t.place, t.again, t.stranded, t.asked = placeNone, false, false, now
	return t, 0, nil
}

// query puts t's question, and t back among those that wait.
func (s *Scheduler) query(ctx context.Context, t *scheduled) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	gone := t.asker == nil
	t.cancel = cancel
	asker := t.asker
	s.mu.Unlock()
	if gone {
		return
	}
	next := asker.askOnce(ctx)
	outage := asker.outage()

	s.mu.Lock()
	defer s.mu.Unlock()
	t.cancel = nil
	if t.asker == nil { // removed meanwhile
		return
	}
	now := time.Now()
	t.due = now.Add(next)
	if t.again {
		t.due = t.soonest(now)
	}
	heap.Push(&s.waiting, t)
	if outage == nil {
		return
	}
	if s.recovered != nil && s.recovered != outage {
		s.hurryAll(now) // the last outage is over, or there were not to be another
	}
	s.recovered, t.stranded = outage, true
}

// add has t's question asked, for the first time after first.
func (s *Scheduler) add(t *scheduled, first time.Duration) {
	s.mu.Lock()
	t.due = time.Now().Add(first)
	heap.Push(&s.waiting, t)
	s.mu.Unlock()
	s.notify()
}

// remove has t's question asked no more. It does not wait for the end of one
// that is under way, which is cancelled.
func (s *Scheduler) remove(t *scheduled) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case t.place >= 0:
		heap.Remove(&s.waiting, t.place)
	case t.place == placeReady:
		s.ready = slices.DeleteFunc(s.ready, func(other *scheduled) bool { return other == t })
	case t.cancel != nil:
		t.cancel()
	}
	t.asker, t.place = nil, placeNone
}

// hurry has t's question asked as soon as may be.
func (s *Scheduler) hurry(t *scheduled) {
	s.mu.Lock()
	t.again = true
	if t.place >= 0 {
		s.advance(t, t.soonest(time.Now()))
	}
	s.mu.Unlock()
	s.notify()
}

// hurryStranded has all questions asked soon that failed while the agent could
// not be reached. There may be many, and many proxies that do the same.
func (s *Scheduler) hurryStranded(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hurryAll(now)
	s.recovered = nil
}

// hurryAll is hurryStranded for a caller that holds mu.
func (s *Scheduler) hurryAll(now time.Time) {
	for _, t := range slices.Clone(s.waiting) {
		if t.stranded {
			t.stranded = false
			s.advance(t, t.soonest(now).Add(rand.N(spread)))
		}
	}
}

// advance makes a waiting t due at the given time, if that is earlier. The
// caller holds mu.
func (s *Scheduler) advance(t *scheduled, due time.Time) {
	if due.Before(t.due) {
		t.due = due
		heap.Fix(&s.waiting, t.place)
	}
}

// soonest is when t's question may be asked again.
func (t *scheduled) soonest(now time.Time) time.Time {
	if at := t.asked.Add(minGap); at.After(now) {
		return at
	}
	return now
}

func (s *Scheduler) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// timeline is a heap of tasks, the first due on top.
type timeline []*scheduled

func (l timeline) Len() int           { return len(l) }
func (l timeline) Less(i, j int) bool { return l[i].due.Before(l[j].due) }

func (l timeline) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].place, l[j].place = i, j
}

// Push is heap.Interface's.
func (l *timeline) Push(x any) {
	t := x.(*scheduled)
	t.place = len(*l)
	*l = append(*l, t)
}

// Pop is heap.Interface's.
func (l *timeline) Pop() any {
	last := len(*l) - 1
	t := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	t.place = placeNone
	return t
}
