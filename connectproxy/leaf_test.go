package connectproxy

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connect-proxy/listener/listenertest"
)

// kept runs the identity of "web" in a bubble, with a leaf of 40 minutes.
func kept(t *testing.T, test func(t *testing.T, i *identity, agent *memAgent)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		agent := newMemAgent(t, "web")
		agent.leaf = agent.issue("web", 0, 40*time.Minute)
		i := newIdentity(identityOptions{Client: agent.client(), Service: "web"})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- i.Run(ctx) }()
		pass(2 * time.Second)
		test(t, i, agent)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestARenewedLeafIsPutInUse(t *testing.T) {
	kept(t, func(t *testing.T, i *identity, agent *memAgent) {
		agent.change(func() { agent.leaf = agent.issue("web", 0, time.Hour) })
		pass(6 * time.Second)
		if s := i.Status(); s.LeafSerial != agent.leaf.SerialNumber || s.Generation != 2 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestALeafIsRenewedByTheClockWhereTheWatchIsStuck(t *testing.T) {
	kept(t, func(t *testing.T, i *identity, agent *memAgent) {
		agent.set(func() { agent.stuck = true })
		pass(9 * time.Minute) // the question that was open is over
		agent.change(func() { agent.leaf = agent.issue("web", 0, 80*time.Minute) })
		agent.set(func() { agent.stuck = true })
		asked := agent.count("leaf")
		pass(20 * time.Minute)
		if n := agent.count("leaf") - asked; n > 270 {
			t.Errorf("%d questions with more than a quarter of the life left", n)
		}
		pass(2 * time.Minute)
		s := i.Status()
		if s.LeafSerial != agent.leaf.SerialNumber {
			t.Errorf("the old leaf is in force %s before its end", time.Until(s.LeafNotAfter))
		}
	})
}

func TestTheGuardDoesNotHammerAnAgentThatHasNoNewerLeaf(t *testing.T) {
	kept(t, func(t *testing.T, i *identity, agent *memAgent) {
		pass(29 * time.Minute)
		asked := agent.count("leaf")
		pass(9 * time.Minute)
		if n := agent.count("leaf") - asked; n < 2 || n > 160 {
			t.Errorf("%d questions in the last quarter of the life", n)
		}
		if i.Problem() != "" {
			t.Errorf("problem: %s", i.Problem())
		}
	})
}

func TestAnExpiredLeafNeverReplacesAValidOne(t *testing.T) {
	kept(t, func(t *testing.T, i *identity, agent *memAgent) {
		serial := i.Status().LeafSerial
		agent.change(func() { agent.leaf = agent.issue("web", -2*time.Hour, -time.Minute) })
		pass(time.Minute)
		s := i.Status()
		if s.LeafSerial != serial || s.Problem != "" || !strings.Contains(s.Leaf.Error, "expired") {
			t.Errorf("status %+v", s)
		}
		pass(40 * time.Minute)
		if p := i.Problem(); !strings.Contains(p, "expired") {
			t.Errorf("problem %q after the end of the last good one", p)
		}
		agent.change(func() { agent.leaf = agent.issue("web", 0, time.Hour) })
		pass(15 * time.Second)
		if p := i.Problem(); p != "" {
			t.Errorf("problem %q with a new leaf", p)
		}
	})
}

func TestAnOlderLeafDoesNotReplaceANewerOne(t *testing.T) {
	kept(t, func(t *testing.T, i *identity, agent *memAgent) {
		serial := i.Status().LeafSerial
		agent.change(func() { agent.leaf = agent.issue("web", -time.Hour, 20*time.Minute) })
		pass(time.Minute)
		if s := i.Status(); s.LeafSerial != serial {
			t.Errorf("status %+v", s)
		}
		agent.change(func() { agent.leaf = agent.issue("web", 0, 20*time.Minute) })
		pass(time.Minute)
		if s := i.Status(); s.LeafSerial == serial {
			t.Error("a later leaf with a shorter life was not taken")
		}
	})
}

func TestALeafThatTheRootsDoNotVouchForWaitsForThem(t *testing.T) {
	kept(t, func(t *testing.T, i *identity, agent *memAgent) {
		serial := i.Status().LeafSerial
		next := listenertest.NewCAFor(t, agent.ca.TrustDomain)
		agent.change(func() {
			agent.leaf = leafOf(next.LeafWith(t, "web", listenertest.LeafOptions{NotAfter: time.Now().Add(time.Hour)}))
		})
		pass(5 * time.Second)
		if s := i.Status(); s.LeafSerial != serial {
			t.Error("put in use before its root")
		}
		agent.change(func() {
			agent.roots.Roots = append([]rootAnswer{{ID: "two", RootCert: next.CertPEM, Active: true}}, agent.roots.Roots...)
		})
		pass(5 * time.Second)
		if s := i.Status(); s.LeafSerial != agent.leaf.SerialNumber || len(s.Roots) != 2 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestALeafOfAnotherServiceIsRefused(t *testing.T) {
	kept(t, func(t *testing.T, i *identity, agent *memAgent) {
		serial := i.Status().LeafSerial
		for name, l := range map[string]listenertest.Leaf{
			"service":   agent.ca.Leaf(t, "db"),
			"namespace": agent.ca.LeafWith(t, "web", listenertest.LeafOptions{Namespace: "other"}),
			"partition": agent.ca.LeafWith(t, "web", listenertest.LeafOptions{Partition: "other"}),
		} {
			agent.change(func() { agent.leaf = leafOf(l) })
			pass(15 * time.Second)
			if s := i.Status(); s.LeafSerial != serial || !strings.Contains(s.Leaf.Error, l.URI) {
				t.Errorf("another %s: %+v", name, s)
			}
		}
	})
}

func TestAnUnreadableLeafIsAnErrorWithoutItsKey(t *testing.T) {
	kept(t, func(t *testing.T, i *identity, agent *memAgent) {
		key := agent.leaf.PrivateKeyPEM
		agent.change(func() { agent.leaf.CertPEM = "rubbish" })
		pass(15 * time.Second)
		s := i.Status()
		if s.Leaf.Error == "" || s.Problem != "" || strings.Contains(s.Leaf.Error, strings.Split(key, "\n")[1]) {
			t.Errorf("status %+v", s)
		}
	})
}

func TestAClockThatJumpsAheadIsNoticedAndForgiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := newMemAgent(t, "web")
		ahead := make(chan time.Duration, 1)
		ahead <- 0
		now := func() time.Time {
			d := <-ahead
			ahead <- d
			return time.Now().Add(d)
		}
		set := func(d time.Duration) { <-ahead; ahead <- d }
		i := newIdentity(identityOptions{Client: agent.client(), Service: "web", Now: now})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- i.Run(ctx) }()
		pass(2 * time.Second)
		asked := agent.count("leaf")
		set(50 * time.Minute) // of an hour
		pass(clockCheck + time.Second)
		if agent.count("leaf") == asked {
			t.Error("no question after the jump")
		}
		set(2 * time.Hour)
		pass(time.Second)
		if p := i.Problem(); !strings.Contains(p, "expired") {
			t.Errorf("problem %q", p)
		}
		set(0)
		pass(time.Second)
		if p := i.Problem(); p != "" {
			t.Errorf("problem %q with the clock set right", p)
		}
		cancel()
		<-done
	})
}
