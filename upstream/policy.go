package upstream

import "net/netip"

// The balance policies.
const (
	// LeastConnections takes the less loaded of two random instances.
	LeastConnections = "least_connections"
	// RoundRobin takes one instance after the other, by their weights.
	RoundRobin = "round_robin"
	// Random takes any, by their weights.
	Random = "random"
	// Ordered takes the first instance that works, in the set's order.
	Ordered = "ordered"
)

// request is a connection that an instance is drawn for.
type request struct {
	// client is who it is made for; its zero value is nobody known.
	client netip.AddrPort
}

// policy is a way to balance. It is a value: what it goes by is the upstream's, and
// each connection's.
type policy interface {
	// ordered reports whether the instances are tried in the set's order, and none
	// is drawn.
	ordered() bool
	// draw proposes an instance that is not set aside, of which there is one. A
	// turn is a share of the instances by their weights; there are turns of them.
	// An instance that cannot be had is no fault: another is drawn. It may go by
	// whom the connection is for, and keeps nothing of that.
	draw(u *Upstream, p *picker, turns int, r request) *instanceSlot
}

// policies are those of Options.Balance.
var policies = map[string]policy{
	LeastConnections: leastConnections{},
	RoundRobin:       roundRobin{},
	Random:           random{},
	Ordered:          ordered{},
}

// leastConnections draws two and proposes the one with less to do for its weight.
type leastConnections struct{}

func (leastConnections) ordered() bool { return false }

func (leastConnections) draw(u *Upstream, p *picker, turns int, _ request) *instanceSlot {
	a := p.turn(u.random(turns))
	b := a
	for i := 0; a == b && len(p.usable) > 1 && i < randomDraws; i++ {
		b = p.turn(u.random(turns))
	}
	// (live+1)/weight without the division: with nothing live, the heavier.
	if (b.live.Load()+1)*a.weight < (a.live.Load()+1)*b.weight {
		return b
	}
	return a
}

type roundRobin struct{}

func (roundRobin) ordered() bool { return false }

func (roundRobin) draw(u *Upstream, p *picker, turns int, _ request) *instanceSlot {
	return p.turn(int(u.round.Add(1) % uint64(turns)))
}

type random struct{}

func (random) ordered() bool { return false }

func (random) draw(u *Upstream, p *picker, turns int, _ request) *instanceSlot {
	return p.turn(u.random(turns))
}

// ordered draws none.
type ordered struct{}

func (ordered) ordered() bool { return true }

func (ordered) draw(_ *Upstream, p *picker, _ int, _ request) *instanceSlot { return p.turn(0) }
