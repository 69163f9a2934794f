package identity

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/agenttest/traffic"
	"connect-proxy/listener/listenertest"
)

// kept runs the identity of "web" in a bubble, with a leaf of 40 minutes.
func kept(t *testing.T, test func(t *testing.T, i *Identity, agent *fakeagent.Agent)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		agent := fakeagent.New(t, fakeagent.Options{InMemory: true})
		lasts(agent, 0, 40*time.Minute)
		i := New(Options{Client: agent.Client(""), Service: "web"})
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

// lasts has the agent give out a leaf of "web" that begins and ends so long from
// now.
func lasts(agent *fakeagent.Agent, from, until time.Duration) api.LeafCert {
	now := time.Now()
	return agent.PinLeaf("web", now.Add(from), now.Add(until))
}

func TestARenewedLeafIsPutInUse(t *testing.T) {
	kept(t, func(t *testing.T, i *Identity, agent *fakeagent.Agent) {
		renewed := lasts(agent, 0, time.Hour)
		pass(leafRest * 11 / 10)
		if s := i.Status(); s.LeafSerial != renewed.SerialNumber || s.Generation != 2 || s.LeafChanges != 2 || s.RootChanges != 1 || s.LeafErrors+s.RootErrors != 0 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestAChangeOfTheRootsHasANewerLeafLookedFor(t *testing.T) {
	kept(t, func(t *testing.T, i *Identity, agent *fakeagent.Agent) {
		pass(time.Minute)
		next := listenertest.NewCAFor(t, agent.TrustDomain())
		agent.Trust(next)
		pass(40 * time.Second) // an agent takes its time
		renewed := fakeagent.LeafOf(next.LeafWith(t, "web", listenertest.LeafOptions{NotAfter: time.Now().Add(time.Hour)}))
		agent.SetLeaf("web", renewed)
		pass(leafInterval*11/10 + time.Second)
		if s := i.Status(); s.LeafSerial != renewed.SerialNumber {
			t.Error("the newer leaf is not in use")
		}
		asked := agent.Requests(traffic.Leaf)
		pass(10 * time.Minute)
		if n := agent.Requests(traffic.Leaf) - asked; n > 22 {
			t.Errorf("%d questions in ten minutes after it", n)
		}
	})
}

func TestALeafIsRenewedByTheClockWhereTheWatchIsStuck(t *testing.T) {
	kept(t, func(t *testing.T, i *Identity, agent *fakeagent.Agent) {
		agent.FreezeLeaf("web")
		pass(9 * time.Minute)
		renewed := lasts(agent, 0, 80*time.Minute)
		asked := agent.Requests(traffic.Leaf)
		pass(20 * time.Minute)
		if n := agent.Requests(traffic.Leaf) - asked; n > 270 {
			t.Errorf("%d questions with more than a quarter of the life left", n)
		}
		pass(2 * time.Minute)
		s := i.Status()
		if s.LeafSerial != renewed.SerialNumber {
			t.Errorf("the old leaf is in force %s before its end", time.Until(s.LeafNotAfter))
		}
	})
}

func TestTheGuardDoesNotHammerAnAgentThatHasNoNewerLeaf(t *testing.T) {
	kept(t, func(t *testing.T, i *Identity, agent *fakeagent.Agent) {
		pass(29 * time.Minute)
		asked := agent.Requests(traffic.Leaf)
		pass(9 * time.Minute)
		if n := agent.Requests(traffic.Leaf) - asked; n < 2 || n > 160 {
			t.Errorf("%d questions in the last quarter of the life", n)
		}
		if i.Problem() != "" {
			t.Errorf("problem: %s", i.Problem())
		}
	})
}

func TestAnExpiredLeafNeverReplacesAValidOne(t *testing.T) {
	kept(t, func(t *testing.T, i *Identity, agent *fakeagent.Agent) {
		serial := i.Status().LeafSerial
		lasts(agent, -2*time.Hour, -time.Minute)
		pass(time.Minute)
		s := i.Status()
		if s.LeafSerial != serial || s.Problem != "" || !strings.Contains(s.Leaf.Error, "expired") || s.LeafChanges != 1 || s.LeafErrors == 0 {
			t.Errorf("status %+v", s)
		}
		pass(40 * time.Minute)
		if p := i.Problem(); !strings.Contains(p, "expired") {
			t.Errorf("problem %q after the end of the last good one", p)
		}
		lasts(agent, 0, time.Hour)
		pass(15 * time.Second)
		if p := i.Problem(); p != "" {
			t.Errorf("problem %q with a new leaf", p)
		}
	})
}

func TestAnOlderLeafDoesNotReplaceANewerOne(t *testing.T) {
	kept(t, func(t *testing.T, i *Identity, agent *fakeagent.Agent) {
		serial := i.Status().LeafSerial
		lasts(agent, -time.Hour, 20*time.Minute)
		pass(time.Minute)
		if s := i.Status(); s.LeafSerial != serial {
			t.Errorf("status %+v", s)
		}
		lasts(agent, 0, 20*time.Minute)
		pass(time.Minute)
		if s := i.Status(); s.LeafSerial == serial {
			t.Error("a later leaf with a shorter life was not taken")
		}
	})
}

func TestALeafThatTheRootsDoNotVouchForWaitsForThem(t *testing.T) {
	kept(t, func(t *testing.T, i *Identity, agent *fakeagent.Agent) {
		serial := i.Status().LeafSerial
		next := listenertest.NewCAFor(t, agent.TrustDomain())
		renewed := fakeagent.LeafOf(next.LeafWith(t, "web", listenertest.LeafOptions{NotAfter: time.Now().Add(time.Hour)}))
		agent.SetLeaf("web", renewed)
		pass(leafRest * 11 / 10)
		if s := i.Status(); s.LeafSerial != serial {
			t.Error("put in use before its root")
		}
		agent.Trust(next)
		pass(rootsInterval * 11 / 10)
		if s := i.Status(); s.LeafSerial != renewed.SerialNumber || len(s.Roots) != 2 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestALeafOfAnotherServiceIsRefused(t *testing.T) {
	kept(t, func(t *testing.T, i *Identity, agent *fakeagent.Agent) {
		serial := i.Status().LeafSerial
		for name, l := range map[string]listenertest.Leaf{
			"service":   agent.CA().Leaf(t, "db"),
			"namespace": agent.CA().LeafWith(t, "web", listenertest.LeafOptions{Namespace: "other"}),
			"partition": agent.CA().LeafWith(t, "web", listenertest.LeafOptions{Partition: "other"}),
		} {
			agent.SetLeaf("web", fakeagent.LeafOf(l))
			pass(leafRest * 3 / 2)
			if s := i.Status(); s.LeafSerial != serial || !strings.Contains(s.Leaf.Error, l.URI) {
				t.Errorf("another %s: %+v", name, s)
			}
		}
	})
}

func TestAnUnreadableLeafIsAnErrorWithoutItsKey(t *testing.T) {
	kept(t, func(t *testing.T, i *Identity, agent *fakeagent.Agent) {
		rubbish := lasts(agent, 0, time.Hour)
		rubbish.CertPEM = "rubbish"
		agent.SetLeaf("web", rubbish)
		pass(leafRest * 3 / 2)
		s := i.Status()
		if s.Leaf.Error == "" || s.LeafErrors == 0 || s.Problem != "" || strings.Contains(s.Leaf.Error, strings.Split(rubbish.PrivateKeyPEM, "\n")[1]) {
			t.Errorf("status %+v", s)
		}
	})
}

func TestAClockThatJumpsAheadIsNoticedAndForgiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := fakeagent.New(t, fakeagent.Options{InMemory: true})
		lasts(agent, 0, time.Hour)
		ahead := make(chan time.Duration, 1)
		ahead <- 0
		now := func() time.Time {
			d := <-ahead
			ahead <- d
			return time.Now().Add(d)
		}
		set := func(d time.Duration) { <-ahead; ahead <- d }
		i := New(Options{Client: agent.Client(""), Service: "web", Now: now})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- i.Run(ctx) }()
		pass(2 * time.Second)
		asked := agent.Requests(traffic.Leaf)
		set(50 * time.Minute) // of an hour
		pass(clockCheck + time.Second)
		if agent.Requests(traffic.Leaf) == asked {
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

// pass lets d of the bubble's time pass and everything in it come to rest.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
