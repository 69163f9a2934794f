package listener

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestEvictionsAreToldWithTheAddressThatHadMost(t *testing.T) {
	e := newEvictions()
	for source, n := range map[string]int{"192.0.2.1": 2, "192.0.2.2": 40, "2001:db8::": 3} {
		for range n {
			e.note(netip.MustParseAddr(source))
		}
	}
	select {
	case <-e.begun:
	default:
		t.Error("nobody was told that it begins")
	}
	var log bytes.Buffer
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: &log})
	taken := e.take()
	if !taken.log(logger, 7) {
		t.Error("nothing to tell")
	}
	for _, want := range []string{"evicted=45", "addresses=3", "worst=192.0.2.2", "evicted_of_worst=40", "held=7"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in %s", want, log.String())
		}
	}
	if taken = e.take(); taken.log(logger, 7) {
		t.Errorf("told twice: %s", log.String())
	}
}

func TestTheAddressesCountedAreBoundedAndTheWorstStandsOut(t *testing.T) {
	e := newEvictions()
	worst := netip.MustParseAddr("192.0.2.1")
	next := netip.MustParseAddr("10.0.0.0")
	for i := range 100_000 {
		if i%20 == 0 {
			e.note(worst)
		}
		next = next.Next()
		e.note(next)
		if len(e.bySource) > maxSources {
			t.Fatalf("%d addresses are counted", len(e.bySource))
		}
	}
	var log bytes.Buffer
	e.log(hclog.New(&hclog.LoggerOptions{Output: &log}), 0)
	for _, want := range []string{"evicted=105000", fmt.Sprintf("more than %d", maxSources), "worst=192.0.2.1"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in %s", want, log.String())
		}
	}
}

func TestNoMoreThanMaxHandshakesAreOnTheirWayOut(t *testing.T) {
	tr := newTracker()
	o := (Options{}).settings()
	o.Handshake = func(context.Context, net.Conn) (Session, error) { return Session{}, nil }
	const most = 2
	now := time.Now()
	var all []*conn
	seat := func() bool {
		c := &conn{}
		if err := tr.add(c, o); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
		now = now.Add(grace)
		_, ok := tr.seat(c, most, now)
		return ok
	}
	for range 2 * most {
		if !seat() {
			t.Fatal("a newcomer got no place")
		}
	}
	if seat() {
		t.Errorf("%d have a place and %d are leaving", tr.strangers.len(), tr.leaving)
	}
	waiting := all[2*most]
	tr.remove(all[0]) // the first to leave has left
	<-tr.slot
	if _, ok := tr.seat(waiting, most, now); !ok {
		t.Error("it got no place afterwards")
	}
	for _, c := range all[1:] {
		tr.remove(c)
	}
	if tr.leaving != 0 || tr.strangers.len() != 0 || tr.count() != 0 {
		t.Errorf("left: %d leaving, %d strangers, %d live", tr.leaving, tr.strangers.len(), tr.count())
	}
}
