package upstream

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// instanceSlot is an endpoint of the set with what is remembered of it.
type instanceSlot struct {
	*instance
	ep     Endpoint
	weight int64
}

// picker is one immutable state of the instances: what there is and what is not
// set aside. A pick reads it without a lock.
type picker struct {
	all []instanceSlot
	// usable is those of all that are not set aside, in the same order.
	usable []*instanceSlot
	// schedule holds indices into usable, each as often as its weight says and
	// spread evenly; nil where all weights are equal.
	schedule []int32
	set      Set // that all is made of
	// made is when it was made, and due when it is to be made anew: when the next
	// instance's time set aside ends.
	made int64
	due  atomic.Int64
}

// To make a picker takes a look at every instance. With manyInstances it is made
// anew after makePause at the earliest, or a thousand of them that fail or come back
// together would cost a million looks. Until then an instance that was set aside may
// be drawn, and is not claimed.
const (
	manyInstances = 256
	makePause     = int64(50 * time.Millisecond)
)

func newPicker(all []instanceSlot, s Set, now int64) *picker {
	p := &picker{all: all, set: s, made: now}
	due := int64(math.MaxInt64)
	p.usable = make([]*instanceSlot, 0, len(all))
	for i := range all {
		if until := all[i].until.Load(); until > now {
			due = min(due, until)
			continue
		}
		p.usable = append(p.usable, &all[i])
	}
	p.due.Store(max(due, p.earliest()))
	p.schedule = schedule(p.usable)
	return p
}

// earliest is when it may be made anew.
func (p *picker) earliest() int64 {
	if len(p.all) < manyInstances {
		return p.made
	}
	return p.made + makePause
}

// scheduleSize is how fine a schedule may be, in turns an instance on average.
const scheduleSize = 16

// schedule gives every slot its share of turns: a random turn is a weighted
// random choice, and turns taken one after the other are a weighted round.
func schedule(slots []*instanceSlot) []int32 {
	var total, least, most int64 = 0, math.MaxInt64, 0
	for _, s := range slots {
		total += s.weight
		least, most = min(least, s.weight), max(most, s.weight)
	}
	if least >= most {
		return nil
	}
	size := min(total, max(int64(len(slots))*scheduleSize, 1024))
	type turn struct {
		at    float64
		index int32
	}
	turns := make([]turn, 0, size+int64(len(slots)))
	for i, s := range slots {
		n := max(int64(math.Round(float64(s.weight)*float64(size)/float64(total))), 1)
		for j := range n {
			turns = append(turns, turn{at: (float64(j) + 0.5) / float64(n), index: int32(i)})
		}
	}
	slices.SortStableFunc(turns, func(a, b turn) int { return cmp.Compare(a.at, b.at) })
	out := make([]int32, len(turns))
	for i, t := range turns {
		out[i] = t.index
	}
	return out
}

// turns is how many turns a round has.
func (p *picker) turns() int {
	if p.schedule != nil {
		return len(p.schedule)
	}
	return len(p.usable)
}

func (p *picker) turn(i int) *instanceSlot {
	if p.schedule != nil {
		i = int(p.schedule[i])
	}
	return p.usable[i]
}

// excluded is the instances that one Dial has had its answer from.
type excluded []*instance

func (t excluded) has(in *instance) bool { return slices.Contains(t, in) }

// randomDraws is how many instances are drawn by policy before the rest is
// searched in order: only a retry or a probe under way needs more than one.
const randomDraws = 4

// pick claims an instance that has not been tried, by the policy; one that is
// set aside only where no other is left, and where lastResort allows it.
func (u *Upstream) pick(p *picker, by policy, r request, not excluded, now int64, lastResort bool) (claim, bool) {
	if p.set.Ordered {
		by = policies[Ordered]
	}
	if n := p.turns(); n > 0 && !by.ordered() {
		for range randomDraws {
			s := by.draw(u, p, n, r)
			if not.has(s.instance) {
				continue
			}
			if probe, ok := s.claim(now); ok {
				return u.take(s, probe, now), true
			}
		}
	}
	return u.search(p, by.ordered(), not, now, lastResort)
}

// search goes through what is left from a random place, or in order.
func (u *Upstream) search(p *picker, inOrder bool, not excluded, now int64, lastResort bool) (claim, bool) {
	start := 0
	if !inOrder && len(p.all) > 0 {
		start = u.random(len(p.all))
	}
	var last *instanceSlot
	for i := range p.all {
		s := &p.all[(start+i)%len(p.all)]
		aside := s.until.Load() > now
		if aside && last != nil || not.has(s.instance) {
			continue
		}
		if probe, ok := s.claim(now); ok {
			return u.take(s, probe, now), true
		}
		if last == nil {
			last = s
		}
	}
	if last == nil || !lastResort {
		return claim{}, false
	}
	c := u.take(last, false, now)
	c.lastResort = true
	return c, true
}

func (u *Upstream) take(s *instanceSlot, probe bool, now int64) claim {
	s.live.Add(1)
	return claim{instanceSlot: s, probe: probe, start: now}
}
