package listener_test

import (
	"bytes"
	"context"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

func TestAStrangerGivesWayToANewcomer(t *testing.T) {
	w, app := newWorld(t), listenertest.NewEcho(t)
	o := w.public(app.Addr())
	o.MaxHandshakes = 2
	l := start(t, o)
	oldest := l.dial(t)
	listenertest.Eventually(t, "the first is accepted", func() bool { return l.Live() == 1 })
	l.dial(t)
	listenertest.Eventually(t, "the second is accepted", func() bool { return l.Live() == 2 })
	if got := exchange(t, l.dialTLS(t, w.ca, w.web), "hello"); got != "hello" {
		t.Errorf("answer %q", got)
	}
	expectEnd(t, oldest, patience)
	for _, s := range l.wait(t, 2) {
		switch s.Reason {
		case listener.ReasonClosed:
		case listener.ReasonHandshakeEvicted:
			if s.Client.String() != oldest.LocalAddr().String() || s.Relayed || s.Err == nil {
				t.Errorf("summary %+v", s)
			}
		default:
			t.Errorf("reason %s", s.Reason)
		}
	}
}

func TestEveryNewcomerGetsAPlaceHoweverManyStrangersCome(t *testing.T) {
	w, app := newWorld(t), listenertest.NewEcho(t)
	o := w.public(app.Addr())
	o.MaxHandshakes = 4
	l := start(t, o)
	const strangers = 200
	for i := range strangers {
		_, _ = l.dial(t).Write([]byte{22}[:i%2]) // every other one says a byte
	}
	for _, s := range l.wait(t, strangers-o.MaxHandshakes) {
		if s.Reason != listener.ReasonHandshakeEvicted {
			t.Errorf("reason %s: %v", s.Reason, s.Err)
		}
	}
	if got := exchange(t, l.dialTLS(t, w.ca, w.web), "hello"); got != "hello" {
		t.Errorf("answer %q", got)
	}
}

// judged are options under which authorization waits until let go.
func judged(w world, app string) (o listener.Options, letGo func()) {
	decided := make(chan struct{})
	o = w.public(app)
	o.Authorize = func(ctx context.Context, _ listener.Session) error {
		select {
		case <-decided:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return o, func() { close(decided) }
}

func TestAClientThatWaitsForItsAuthorizationGivesWayToNoStranger(t *testing.T) {
	w, app := newWorld(t), listenertest.NewEcho(t)
	o, letGo := judged(w, app.Addr())
	o.MaxHandshakes = 2
	l := start(t, o)
	known := []net.Conn{l.dialTLS(t, w.ca, w.web), l.dialTLS(t, w.ca, w.web)}
	listenertest.Eventually(t, "they are known", func() bool { return len(l.Peers()) == 1 && l.Live() == 2 })
	const strangers = 20
	for range strangers {
		l.dial(t)
	}
	for _, s := range l.wait(t, strangers-o.MaxHandshakes) {
		if s.Reason != listener.ReasonHandshakeEvicted || s.Peer != "" {
			t.Errorf("reason %s, peer %q", s.Reason, s.Peer)
		}
	}
	letGo()
	for _, c := range known {
		roundTrip(t, c)
	}
}

func TestThoseWhoWaitForAuthorizationAreBoundedAndGiveWayByIdentity(t *testing.T) {
	w, app := newWorld(t), listenertest.NewEcho(t)
	o, letGo := judged(w, app.Addr())
	o.MaxAuthorizations = 3
	l := start(t, o)
	dial := func(leaf listenertest.Leaf, live int) net.Conn {
		c := l.dialTLS(t, w.ca, leaf)
		listenertest.Eventually(t, "it waits", func() bool { return l.Live() == live && l.Waiting() == live })
		return c
	}
	api := w.ca.Leaf(t, "api")
	stay := []net.Conn{dial(w.web, 1), dial(w.web, 2)}
	last := dial(w.web, 3)
	stay = append(stay, l.dialTLS(t, w.ca, api)) // in place of web's last
	expectEnd(t, last, patience)
	late := l.dialTLS(t, w.ca, w.web) // in nobody's: none has more than web
	expectEnd(t, late, patience)
	for _, s := range l.wait(t, 2) {
		if s.Reason != listener.ReasonLimit || s.Peer != w.web.URI || s.Err == nil {
			t.Errorf("summary %+v", s)
		}
	}
	letGo()
	for _, c := range stay {
		roundTrip(t, c)
	}
}

func TestEvictionsHaveOneLineForAllAndNoneEach(t *testing.T) {
	w, app := newWorld(t), listenertest.NewEcho(t)
	var log bytes.Buffer
	o := w.public(app.Addr())
	o.MaxHandshakes = 1
	o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &log})
	l := start(t, o)
	const strangers = 50
	began := time.Now()
	for range strangers {
		l.dial(t)
	}
	l.wait(t, strangers-1)
	l.stop() // nobody writes to the log after this
	told := 0
	lines := regexp.MustCompile(`evicted=(\d+) addresses=1 worst=127\.0\.0\.1 `).FindAllStringSubmatch(log.String(), -1)
	for _, line := range lines {
		n, err := strconv.Atoi(line[1])
		if err != nil {
			t.Fatal(err)
		}
		told += n
	}
	// One each second, and one at the end.
	if most := int(time.Since(began)/time.Second) + 2; told != strangers-1 || len(lines) > most || strings.Contains(log.String(), "handshake_evicted") {
		t.Errorf("%d evictions told in %d lines:\n%s", told, len(lines), log.String())
	}
}
