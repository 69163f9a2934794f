package listener

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestEvictionsAreToldWithTheAddressThatHadMost(t *testing.T) {
	begun := 0
	e := evictionLog{watch: func() { begun++ }}
	for source, n := range map[string]int{"192.0.2.1": 2, "192.0.2.2": 40, "2001:db8::": 3} {
		for range n {
			e.count(netip.MustParseAddr(source))
		}
	}
	if begun != 1 {
		t.Errorf("told %d times that it begins", begun)
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

func TestEvictionsThatGoOnHaveALineAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards log
		var log bytes.Buffer
		l, err := New(nowhere{}, Options{
			Dial:   func(context.Context) (Target, error) { return Target{}, errNoDial },
			Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: &log, Mutex: &mu}),
		})
		if err != nil {
			t.Fatal(err)
		}
		told := func() (lines, evicted int) {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			defer log.Reset()
			for _, m := range regexp.MustCompile(`evicted=(\d+)`).FindAllStringSubmatch(log.String(), -1) {
				n, _ := strconv.Atoi(m[1])
				lines, evicted = lines+1, evicted+n
			}
			return lines, evicted
		}
		evict := func() {
			l.conns.mu.Lock()
			defer l.conns.mu.Unlock()
			l.conns.evictions.count(netip.MustParseAddr("192.0.2.1"))
		}
		after := func(d time.Duration) { <-time.After(d) } // of the bubble's clock
		const every = 100 * time.Millisecond
		n := 0
		for ; n < int(3*time.Minute/every); n++ {
			evict()
			after(every)
		}
		lines, first := told()
		if lines != 3 || first < n*2/3 || first >= n {
			t.Errorf("%d lines about %d of %d evictions in three minutes", lines, first, n)
		}
		after(time.Minute)
		if lines, rest := told(); lines != 1 || first+rest != n {
			t.Errorf("%d lines about %d evictions that were left, of %d", lines, rest, n-first)
		}
		after(10 * time.Minute)
		if lines, _ := told(); lines != 0 {
			t.Errorf("%d lines about nothing", lines)
		}
		evict()
		after(2 * evictionLogDelay)
		if lines, again := told(); lines != 1 || again != 1 {
			t.Errorf("%d lines about %d evictions when they begin again", lines, again)
		}
		l.conns.noMoreConns()
		l.evictions.Wait()
	})
}

// nowhere is a socket that nobody connects to.
type nowhere struct{ net.Listener }

func TestTheAddressesCountedAreBoundedAndTheWorstStandsOut(t *testing.T) {
	e := evictionLog{watch: func() {}}
	worst := netip.MustParseAddr("192.0.2.1")
	next := netip.MustParseAddr("10.0.0.0")
	for i := range 100_000 {
		if i%20 == 0 {
			e.count(worst)
		}
		next = next.Next()
		e.count(next)
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
	tr := newTracker(func() {})
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
		_, ok := tr.startHandshake(c, most, now)
		return ok
	}
	for range 2 * most {
		if !seat() {
			t.Fatal("a newcomer got no place")
		}
	}
	if seat() {
		t.Errorf("%d have a place and %d are leaving", tr.handshakes.len(), tr.evicted)
	}
	waiting := all[2*most]
	tr.remove(all[0]) // the first to leave has left
	<-tr.slotFree
	if _, ok := tr.startHandshake(waiting, most, now); !ok {
		t.Error("it got no place afterwards")
	}
	for _, c := range all[1:] {
		tr.remove(c)
	}
	if tr.evicted != 0 || tr.handshakes.len() != 0 || tr.count() != 0 {
		t.Errorf("left: %d leaving, %d strangers, %d live", tr.evicted, tr.handshakes.len(), tr.count())
	}
}
