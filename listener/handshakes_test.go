package listener

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// crowd are unfinished handshakes at a made-up time. Nobody's bytes wait to be read unless
// a test says so.
type crowd struct {
	handshakes
	now time.Time
}

func newCrowd() *crowd {
	c := &crowd{handshakes: newHandshakes(), now: time.Unix(1_000_000, 0)}
	c.unread = func(*conn) bool { return false }
	return c
}

func (c *crowd) pass(d time.Duration) { c.now = c.now.Add(d) }

// connect takes in n silent clients from a source, a millisecond apart.
func (c *crowd) connect(source string, n int) []*conn {
	var all []*conn
	for range n {
		one := &conn{source: netip.MustParseAddr(source)}
		c.add(one, c.now)
		c.pass(time.Millisecond)
		all = append(all, one)
	}
	return all
}

func (c *crowd) speak(all []*conn) {
	for _, one := range all {
		c.spoke(one, c.now)
	}
}

// evict takes out the one who gives way.
func (c *crowd) evict() *conn {
	v := c.victim(c.now)
	if v != nil {
		c.remove(v)
	}
	return v
}

func TestTheOldestUnfinishedHandshakeGivesWayFirst(t *testing.T) {
	c := newCrowd()
	all := c.connect("192.0.2.1", 5)
	c.pass(grace)
	for i, want := range all {
		if c.evict() != want {
			t.Fatalf("number %d is not the oldest", i)
		}
	}
	if c.evict() != nil || c.len() != 0 {
		t.Errorf("%d are left", c.len())
	}
}

func TestASilentClientGivesWayBeforeOneInItsHandshake(t *testing.T) {
	c := newCrowd()
	speaking := c.connect("192.0.2.1", 3)
	c.speak(speaking)
	silent := c.connect("192.0.2.2", 1)
	c.pass(grace)
	for i, want := range append(silent, speaking...) {
		if c.evict() != want {
			t.Errorf("number %d is another", i)
		}
	}
}

func TestTheAddressThatHoldsMostGivesWayFirst(t *testing.T) {
	c := newCrowd()
	few := c.connect("192.0.2.1", 2)
	many := c.connect("192.0.2.2", 5)
	c.pass(grace)
	for i, want := range []*conn{many[0], many[1], many[2], few[0], many[3], few[1], many[4]} {
		if c.evict() != want {
			t.Errorf("number %d is another", i)
		}
	}
}

func TestNobodyGivesWayWithinItsGraceWhilePatienceLasts(t *testing.T) {
	c := newCrowd()
	first := c.connect("192.0.2.1", 1)[0]
	c.pass(grace - 2*time.Millisecond)
	c.connect("192.0.2.1", 3)
	c.waited(maxWaiting - 1)
	if c.now = first.since.Add(grace - 1); c.evict() != nil {
		t.Error("one gave way within its grace")
	}
	if c.pass(1); c.evict() != first {
		t.Error("the one whose grace is over did not give way")
	}
	if c.evict() != nil {
		t.Error("one gave way within its grace")
	}
}

func TestWithoutPatienceTheOlderHalfGivesWayAndTheNewerIsSafe(t *testing.T) {
	c := newCrowd()
	older := c.connect("192.0.2.1", 4)
	c.speak(older[:2])
	c.pass(time.Millisecond)
	newer := c.connect("192.0.2.1", 4)
	c.waited(maxWaiting)
	if c.evict() != nil {
		t.Error("one gave way at once")
	}
	c.pass(minGrace)
	for i, want := range []*conn{older[2], older[3], older[0], older[1]} {
		if c.evict() != want {
			t.Errorf("number %d is another", i)
		}
	}
	if c.len() != len(newer) {
		t.Errorf("%d are left", c.len())
	}
	for range newer { // a newcomer always gets a place
		if c.evict() == nil {
			t.Fatal("nobody gives way")
		}
	}
}

func TestAnAddressThatConnectsWithoutEndHasNobodyElseGiveWay(t *testing.T) {
	c := newCrowd()
	other := c.connect("192.0.2.1", 1)
	crowd := c.connect("192.0.2.2", 511)
	c.speak(append(crowd, other...))
	c.waited(maxWaiting)
	for ended := c.now.Add(grace); c.now.Before(ended); {
		if c.evict() == other[0] {
			t.Fatalf("the only client of its address gave way after %s", c.now.Sub(other[0].since))
		}
		c.speak(c.connect("192.0.2.2", 1))
	}
}

func TestAnAddressThatConnectsInBurstsHasNobodyElseGiveWay(t *testing.T) {
	c := newCrowd()
	other := c.connect("192.0.2.1", 1)
	crowd := c.connect("192.0.2.2", 511)
	c.speak(append(crowd, other...))
	c.pass(minGrace)
	c.waited(maxWaiting)
	for came := 0; c.now.Sub(other[0].since) < grace; {
		switch c.evict() {
		case other[0]:
			t.Fatalf("the only client of its address gave way after %s, to number %d", c.now.Sub(other[0].since), came)
		case nil:
			c.pass(minGrace / 20)
		default:
			c.add(&conn{source: crowd[0].source}, c.now) // in no time
			came++
		}
	}
}

func TestPatienceReturnsWhenTheCrowdIsOverOrFreesItsPlaces(t *testing.T) {
	c := newCrowd()
	c.connect("192.0.2.1", 2)
	c.pass(minGrace)
	for name, returns := range map[string]func(){
		"over":       c.quiet,
		"successful": func() { c.proved(true) },
		"on its way": func() { c.proved(false) },
	} {
		c.waited(2 * maxWaiting)
		returns()
		if c.evict() != nil {
			t.Errorf("one gave way within its grace in a crowd that is %s", name)
		}
	}
}

func TestAClientWhoseBytesWaitToBeReadIsNotLate(t *testing.T) {
	c := newCrowd()
	all := c.connect("192.0.2.1", 3)
	c.speak(all[1:2])
	c.unread = func(one *conn) bool { return one != all[2] }
	c.pass(grace)
	if c.evict() != all[2] {
		t.Error("another gave way")
	}
	if v := c.evict(); v != nil {
		t.Error("one gave way that waits for us")
	}
	c.unread = func(*conn) bool { return false }
	if c.evict() != nil {
		t.Error("one gave way as soon as it did not wait for us any more")
	}
	c.pass(grace)
	if c.evict() != all[0] || c.evict() != all[1] {
		t.Error("one does not give way for ever")
	}
}

func TestAClientThatSpeaksAtLastHasItsGrace(t *testing.T) {
	c := newCrowd()
	late := c.connect("192.0.2.1", 1)
	c.pass(grace)
	if c.victim(c.now) != late[0] {
		t.Error("it is not overdue")
	}
	c.speak(late)
	if c.victim(c.now) != nil {
		t.Error("it is overdue still")
	}
}

// TestTheFairQueueIsWhatAModelSays joins and leaves at random.
func TestTheFairQueueIsWhatAModelSays(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var q fairQueue
	model := map[string][]*conn{}
	var all []*conn
	for i := range 5000 {
		if random.IntN(2) == 0 || len(all) == 0 {
			c := &conn{peer: fmt.Sprint(random.IntN(8)), since: time.Unix(int64(i), 0)}
			q.join(owner{peer: c.peer}, c)
			model[c.peer] = append(model[c.peer], c)
			all = append(all, c)
		} else {
			c := all[random.IntN(len(all))]
			q.leave(c)
			model[c.peer] = slices.DeleteFunc(model[c.peer], func(o *conn) bool { return o == c })
			all = slices.DeleteFunc(all, func(o *conn) bool { return o == c })
		}
		var most []*conn
		for _, line := range model {
			if len(line) > len(most) || len(line) == len(most) && len(line) > 0 && line[0].since.Before(most[0].since) {
				most = line
			}
		}
		switch l := q.most(); {
		case q.n != len(all):
			t.Fatalf("holds %d, want %d", q.n, len(all))
		case l == nil != (len(most) == 0):
			t.Fatal("is empty, or not")
		case l == nil:
		case l.n != len(most) || l.first != most[0] || l.last != most[len(most)-1]:
			t.Fatalf("the longest line has %d, want %d", l.n, len(most))
		}
	}
	for _, c := range all {
		q.leave(c)
	}
	if len(q.queues) != 0 || len(q.order) != 0 {
		t.Errorf("%d queues are left", len(q.queues))
	}
}
