package listener_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

func TestClosePeersCutsThatIdentityAndNoOther(t *testing.T) {
	w, app := newWorld(t), listenertest.NewEcho(t)
	api := w.ca.Leaf(t, "api")
	l := start(t, w.public(app.Addr()))
	var gone, stay []net.Conn
	for range 3 {
		gone = append(gone, l.dialTLS(t, w.ca, w.web))
		stay = append(stay, l.dialTLS(t, w.ca, api))
	}
	stay = append(stay, l.dialTLS(t, w.ca, api))
	l.dial(t) // a stranger has no identity and is left alone
	l.waitOpened(t, 7)
	peers := l.Peers()
	slices.Sort(peers)
	want := []string{w.web.URI, api.URI}
	slices.Sort(want)
	if !slices.Equal(peers, want) {
		t.Errorf("peers %q, want %q", peers, want)
	}

	n := l.ClosePeers(func(p string) bool { return p == w.web.URI }, listener.ReasonIntentionRevoked)
	if n != len(gone) {
		t.Errorf("closed %d, want %d", n, len(gone))
	}
	for _, c := range gone {
		expectEnd(t, c, patience)
	}
	for _, s := range l.wait(t, len(gone)) {
		if s.Peer != w.web.URI || s.Reason != listener.ReasonIntentionRevoked {
			t.Errorf("summary %+v", s)
		}
	}
	for _, c := range stay {
		roundTrip(t, c)
	}
	listenertest.Eventually(t, "one peer is left", func() bool {
		return slices.Equal(l.Peers(), []string{api.URI})
	})
	if n := l.ClosePeers(func(string) bool { return false }, listener.ReasonIntentionRevoked); n != 0 {
		t.Errorf("closed %d that do not match", n)
	}
}

func roundTrip(t testing.TB, c net.Conn) {
	t.Helper()
	var b [5]byte
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(b); {
		k, err := c.Read(b[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += k
	}
}

// TestClosePeersReachesAConnectionOnEveryRung revokes while a connection is
// authorized or dialled for, which is when a list of relayed connections would
// not hold it yet.
func TestClosePeersReachesAConnectionOnEveryRung(t *testing.T) {
	w := newWorld(t)
	for _, rung := range []string{"authorizing", "authorized", "dialling", "dialled"} {
		t.Run(rung, func(t *testing.T) {
			app := listenertest.NewEcho(t)
			at, revoked := make(chan struct{}), make(chan struct{})
			here := func(name string) {
				if name == rung {
					close(at)
					<-revoked
				}
			}
			o := w.public(app.Addr())
			dial := o.Dial
			o.Authorize = func(ctx context.Context, _ listener.Session) error {
				if rung == "authorizing" {
					close(at)
					<-ctx.Done() // ended by the revocation, long before the timeout
					<-revoked
				}
				return nil // judged by the policy of before
			}
			o.Dial = func(ctx context.Context) (listener.Target, error) {
				here("authorized")
				if rung == "dialling" {
					close(at)
					<-ctx.Done()
					<-revoked
					return listener.Target{}, ctx.Err()
				}
				target, err := dial(context.WithoutCancel(ctx))
				here("dialled")
				return target, err
			}
			o.HandshakeTimeout, o.DialTimeout = time.Hour, time.Hour
			l := start(t, o)
			c := l.dialTLS(t, w.ca, w.web)
			<-at
			if n := l.ClosePeers(func(string) bool { return true }, listener.ReasonIntentionRevoked); n != 1 {
				t.Errorf("closed %d", n)
			}
			close(revoked)
			expectEnd(t, c, patience)
			s := l.wait(t, 1)[0]
			if s.Reason != listener.ReasonIntentionRevoked || s.Relayed || s.ToUpstream != 0 {
				t.Errorf("summary %+v", s)
			}
			if rung == "authorizing" && app.Accepted() > 0 {
				t.Error("the app was dialled for a connection that was revoked")
			}
		})
	}
}

// TestNoConnectionSurvivesARevocationWhateverTheMoment has clients connect while
// the policy turns to deny: as an authorizer does, the policy is changed first
// and the connections are closed then.
func TestNoConnectionSurvivesARevocationWhateverTheMoment(t *testing.T) {
	w, app := newWorld(t), listenertest.NewEcho(t)
	rounds := 30
	if testing.Short() {
		rounds = 5
	}
	for round := range rounds {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			var mu sync.Mutex
			denied := false
			o := w.public(app.Addr())
			o.Authorize = func(context.Context, listener.Session) error {
				mu.Lock()
				defer mu.Unlock()
				if denied {
					return &listener.Denied{}
				}
				return nil
			}
			l := start(t, o)
			const clients = 4
			for range clients {
				go secureClientUntilClosed(l, w)
			}
			listenertest.Eventually(t, "clients are on their way", func() bool { return l.Live() > round%clients })
			mu.Lock()
			denied = true
			mu.Unlock()
			l.ClosePeers(func(string) bool { return true }, listener.ReasonIntentionRevoked)
			for _, s := range l.wait(t, clients) {
				if s.Reason != listener.ReasonIntentionRevoked && s.Reason != listener.ReasonDenied {
					t.Errorf("reason %s: %v", s.Reason, s.Err)
				}
			}
		})
	}
}
