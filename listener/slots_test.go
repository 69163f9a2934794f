package listener

import (
	"net/netip"
	"testing"
	"time"
)

// countingPhase counts how often connections are aborted.
type countingPhase struct{ aborted *int }

func (p countingPhase) abort() { *p.aborted++ }

// slotsTest is a tracker with connections of clients at made-up addresses.
type slotsTest struct {
	*tracker
	o       *settings
	aborted int
}

func newSlotsTest() *slotsTest {
	return &slotsTest{tracker: newTracker(func() {}), o: Options{FairConnections: true}.settings()}
}

// connect adds a connection whose handshake is not finished.
func (s *slotsTest) connect(t *testing.T, source string) *conn {
	t.Helper()
	c := &conn{o: s.o, source: netip.MustParseAddr(source), phase: countingPhase{&s.aborted}}
	s.mu.Lock()
	s.live++
	s.link(c)
	s.mu.Unlock()
	if _, ok := s.startHandshake(c, 1000, time.Now()); !ok {
		t.Fatal("no slot for a handshake")
	}
	return c
}

// end has a connection end as those do that give way.
func (s *slotsTest) end(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evict(c, errEvicted, nil)
}

func TestWhoHasToGiveWayTakesNobodysPlace(t *testing.T) {
	for name, proceed := range map[string]func(s *slotsTest, c *conn) *connError{
		"connection":    func(s *slotsTest, c *conn) *connError { return s.admitRequest(c, 2) },
		"authorization": func(s *slotsTest, c *conn) *connError { return s.identify(c, handingOver{}, SessionInfo{Peer: "b"}, 2) },
	} {
		for _, end := range []func(s *slotsTest, c *conn){
			(*slotsTest).end,
			func(s *slotsTest, c *conn) { s.closeOne(c.id, ReasonClosed) },
		} {
			s := newSlotsTest()
			for range 2 {
				c := s.connect(t, "192.0.2.1")
				c.id = lastID.Add(1)
				if err := s.identify(c, countingPhase{&s.aborted}, SessionInfo{Peer: "a"}, 2); err != nil {
					t.Fatal(err)
				}
				if name == "connection" {
					if err := s.admit(c, 2); err != nil {
						t.Fatal(err)
					}
				}
			}
			c := s.connect(t, "192.0.2.2")
			c.id = lastID.Add(1)
			c.phase = countingPhase{new(int)}
			end(s, c)
			if err := proceed(s, c); err == nil || err != c.closing {
				t.Errorf("%s: goes on: %v", name, err)
			}
			if s.aborted != 0 {
				t.Errorf("%s: %d others ended for it", name, s.aborted)
			}
			s.remove(c)
			if handshakes, authorizations := s.pending(); handshakes != 0 || authorizations+s.connections != 2 || s.evicted != 0 {
				t.Errorf("%s: left are %d handshakes, %d authorizations, %d connections, %d evicted", name, handshakes, authorizations, s.connections, s.evicted)
			}
		}
	}
}

// serve has a connection be served that is idle since a time, or busy where that is
// zero.
func (s *slotsTest) serve(t *testing.T, c *conn, since time.Time) *connError {
	t.Helper()
	c.request = &Request{IdleSince: func() time.Time { return since }}
	return s.admitRequest(c, 4)
}

func TestANewcomerGetsThePlaceOfWhoHasBeenIdleForLongest(t *testing.T) {
	s := newSlotsTest()
	now := time.Now()
	since := map[string]time.Time{
		"192.0.2.1": now.Add(-time.Second), // has the oldest connection, and asks often
		"192.0.2.2": {},
		"192.0.2.3": now.Add(-time.Hour),
		"192.0.2.4": now.Add(-time.Minute),
	}
	served := map[string]*conn{}
	for i, source := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.4", "192.0.2.3"} {
		served[source] = s.connect(t, source)
		if err := s.serve(t, served[source], since[source]); err != nil {
			t.Fatal(err)
		}
		s.shared.requeue(served[source], now.Add(time.Duration(i-20)*time.Hour)) // when it has connected
	}
	for i, gone := range []string{"192.0.2.3", "192.0.2.4", "192.0.2.1"} {
		if err := s.serve(t, s.connect(t, "198.51.100."+string(rune('1'+i))), time.Time{}); err != nil {
			t.Errorf("%d is not served: %v", i, err)
		}
		if served[gone].closing == nil {
			t.Errorf("%d: another than %s has given way", i, gone)
		}
		// It is no newcomer's, and has no other connection to lose.
		if err := s.serve(t, s.connect(t, "192.0.2.2"), now); err != errTooMany {
			t.Errorf("%d: who has a connection has another: %v", i, err)
		}
	}
	if err := s.serve(t, s.connect(t, "198.51.100.9"), now); err != errTooMany || served["192.0.2.2"].closing != nil {
		t.Errorf("in the place of one that is busy: %v", err)
	}
}

func TestWhoIsIdleIsFoundAmongManyThatAreBusy(t *testing.T) {
	s := newSlotsTest()
	const busy = 5 * maxLooks
	for i := range busy {
		c := s.connect(t, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String())
		c.request = &Request{IdleSince: func() time.Time { return time.Time{} }}
		if err := s.admitRequest(c, busy+1); err != nil {
			t.Fatal(err)
		}
	}
	last := s.connect(t, "192.0.2.1")
	last.request = &Request{IdleSince: func() time.Time { return last.since }}
	if err := s.admitRequest(last, busy+1); err != nil {
		t.Fatal(err)
	}
	for i := 0; s.admitRequest(s.connect(t, "192.0.2.2"), busy+1) != nil; i++ {
		if i > busy/maxLooks {
			t.Fatal("newcomers are refused although one is idle")
		}
	}
	if last.closing == nil {
		t.Error("one that is busy has given way")
	}
}
