package upstream

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// slot is an endpoint of the set with what is remembered of it.
type slot struct {
	*instance
	ep     Endpoint
	weight int64
}

// picker is one immutable state of the instances: what there is and what is not
// set aside. A pick reads it without a lock.
type picker struct {
	all []slot
	// usable is those of all that are not set aside, in the same order.
	usable []*slot
	// schedule holds indices into usable, each as often as its weight says and
	// spread evenly; nil where all weights are equal.
	schedule []int32
	ordered  bool
	filtered bool
	reason   string        // why all is empty, if the set says so
	timeout  time.Duration // the destination's own; zero if it has none
	// due is when the next instance's time set aside ends.
	due int64
}

func newPicker(all []slot, s Set, now int64) *picker {
	p := &picker{
		all: all, ordered: s.Ordered, filtered: s.Filtered, reason: s.Reason, timeout: s.ConnectTimeout, due: math.MaxInt64,
	}
	p.usable = make([]*slot, 0, len(all))
	for i := range all {
		if until := all[i].until.Load(); until > now {
			p.due = min(p.due, until)
			continue
		}
		p.usable = append(p.usable, &all[i])
	}
	p.schedule = schedule(p.usable)
	return p
}

// scheduleSize is how fine a schedule may be, in turns an instance on average.
const scheduleSize = 16

// schedule gives every slot its share of turns: a random turn is a weighted
// random choice, and turns taken one after the other are a weighted round.
func schedule(slots []*slot) []int32 {
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

func (p *picker) turn(i int) *slot {
	if p.schedule != nil {
		i = int(p.schedule[i])
	}
	return p.usable[i]
}

// tried is the instances that one Dial has had its answer from.
type tried []*instance

func (t tried) has(in *instance) bool { return slices.Contains(t, in) }

// proposals is how many instances are drawn by policy before the rest is
// searched in order: only a retry or a probe under way needs more than one.
const proposals = 4

// pick claims an instance that has not been tried, by the policy; one that is
// set aside only where no other is left.
func (u *Upstream) pick(p *picker, balance string, not tried, now int64) (claim, bool) {
	if p.ordered {
		balance = Ordered
	}
	if n := p.turns(); n > 0 && balance != Ordered {
		for range proposals {
			s := u.propose(p, balance, n)
			if not.has(s.instance) {
				continue
			}
			if probe, ok := s.claim(now); ok {
				return u.take(s, probe, now), true
			}
		}
	}
	return u.search(p, balance, not, now)
}

// propose draws an instance by the policy.
func (u *Upstream) propose(p *picker, balance string, turns int) *slot {
	switch balance {
	case RoundRobin:
		return p.turn(int(u.round.Add(1) % uint64(turns)))
	case Random:
		return p.turn(u.random(turns))
	}
	a := p.turn(u.random(turns))
	b := a
	for i := 0; a == b && len(p.usable) > 1 && i < proposals; i++ {
		b = p.turn(u.random(turns))
	}
	// (live+1)/weight without the division: with nothing live, the heavier.
	if (b.live.Load()+1)*a.weight < (a.live.Load()+1)*b.weight {
		return b
	}
	return a
}

// search goes through what is left from a random place, or in order.
func (u *Upstream) search(p *picker, balance string, not tried, now int64) (claim, bool) {
	start := 0
	if balance != Ordered && len(p.all) > 0 {
		start = u.random(len(p.all))
	}
	var last *slot
	for i := range p.all {
		s := &p.all[(start+i)%len(p.all)]
		if not.has(s.instance) {
			continue
		}
		if probe, ok := s.claim(now); ok {
			return u.take(s, probe, now), true
		}
		if last == nil {
			last = s
		}
	}
	if last == nil {
		return claim{}, false
	}
	return u.take(last, false, now), true
}

func (u *Upstream) take(s *slot, probe bool, now int64) claim {
	s.live.Add(1)
	return claim{slot: s, probe: probe, start: now}
}
