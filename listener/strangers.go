package listener

import (
	"net"
	"net/netip"
	"time"
)

const (
	// grace is how long a client is safe from giving way after it has connected,
	// and again after its first byte.
	grace = time.Second
	// leastGrace is the same when patience has run out.
	leastGrace = 100 * time.Millisecond
	// maxPatience is how long newcomers are kept waiting for a place, and with
	// them all those behind them in the kernel's queue, while nobody is overdue.
	maxPatience = 250 * time.Millisecond
	// provenPatience is what each proven identity brings back of it.
	provenPatience = 2 * time.Millisecond
	// mostLooks bounds the sockets looked at for one newcomer.
	mostLooks = 64
)

// strangers are the connections whose clients have not proven an identity yet.
// Where there are too many, one gives way to each that comes: of those that are
// overdue, one that has sent nothing before one that has begun its handshake,
// then one of the address that has most, then the oldest.
//
// A crowd of honest clients frees its places by itself. That is worth waiting
// for, so nobody is evicted while others succeed and no one is overdue; strangers
// who fill every place buy a moment of that patience and no more. When it has
// run out, the older half counts as overdue: however fast strangers come, a
// handshake of the newer half is left alone.
//
// A client whose bytes wait to be read is not late, this process is. It is safe
// as long as that is so.
type strangers struct {
	silent, spoken cohort
	patience       time.Duration
	// owed reports that a client's bytes wait to be read.
	owed func(c *conn) bool
}

// cohort is strangers in the same state.
type cohort struct {
	fresh   line // the oldest first
	overdue fairQueue
}

func newStrangers() strangers {
	return strangers{
		patience: maxPatience,
		owed:     func(c *conn) bool { return readable(c.raw) },
	}
}

func (s *strangers) len() int {
	return s.silent.fresh.n + s.silent.overdue.n + s.spoken.fresh.n + s.spoken.overdue.n
}

// add takes in a client that has just connected.
func (s *strangers) add(c *conn, now time.Time) { s.begin(c, now) }

// spoke notes the first byte of a client.
func (s *strangers) spoke(c *conn, now time.Time) {
	s.remove(c)
	c.spoken = true
	s.begin(c, now)
}

// begin begins c's grace.
func (s *strangers) begin(c *conn, now time.Time) {
	c.since = now
	s.cohortOf(c).fresh.join(c)
}

func (s *strangers) remove(c *conn) {
	k := s.cohortOf(c)
	if c.partyLine != nil {
		k.overdue.leave(c)
	} else {
		k.fresh.leave(c)
	}
}

func (s *strangers) cohortOf(c *conn) *cohort {
	if c.spoken {
		return &s.spoken
	}
	return &s.silent
}

// rest notes that there is no crowd.
func (s *strangers) rest() { s.patience = maxPatience }

// proved notes that a client has proven its identity, and whether a newcomer is
// waiting for the place that so gets free.
func (s *strangers) proved(awaited bool) {
	s.patience = min(s.patience+provenPatience, maxPatience)
	if awaited {
		s.patience = maxPatience
	}
}

// waited notes that a newcomer was kept waiting.
func (s *strangers) waited(d time.Duration) { s.patience = max(0, s.patience-d) }

// victim is who gives way to a newcomer, or nil if that should wait. The caller
// removes it.
func (s *strangers) victim(now time.Time) *conn {
	for range mostLooks {
		c := s.candidate(now)
		if c == nil || !s.owed(c) {
			return c
		}
		s.remove(c)
		s.begin(c, now)
	}
	return nil
}

// candidate is the first to give way of those that are overdue.
func (s *strangers) candidate(now time.Time) *conn {
	s.silent.age(now)
	s.spoken.age(now)
	if s.patience == 0 && s.silent.overdue.n+s.spoken.overdue.n == 0 {
		s.press(now)
	}
	for _, k := range [...]*cohort{&s.silent, &s.spoken} {
		if l := k.overdue.most(); l != nil {
			return l.first
		}
	}
	return nil
}

// press makes the older half overdue, as far as its least grace is over.
func (s *strangers) press(now time.Time) {
	for range (s.len() + 1) / 2 {
		k := &s.silent
		if a, b := k.fresh.first, s.spoken.fresh.first; a == nil || b != nil && b.since.Before(a.since) {
			k = &s.spoken
		}
		if now.Sub(k.fresh.first.since) < leastGrace {
			return
		}
		k.expire()
	}
}

// age makes those overdue whose grace is over.
func (k *cohort) age(now time.Time) {
	for k.fresh.n > 0 && now.Sub(k.fresh.first.since) >= grace {
		k.expire()
	}
}

// expire makes the oldest overdue.
func (k *cohort) expire() {
	c := k.fresh.first
	k.fresh.leave(c)
	k.overdue.join(party{source: c.source}, c)
}

// sourceOf is what counts as one address: an IPv4 address, the /64 of an IPv6
// address, since a single host commands all of it, and for a unix socket the
// zero Addr.
func sourceOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is4() {
		return ip
	}
	network, err := ip.Prefix(64)
	if err != nil {
		return netip.Addr{}
	}
	return network.Addr()
}
