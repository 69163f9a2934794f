package identity

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/agenttest/traffic"
	"connect-proxy/listener/listenertest"
)

// youngAgent is an agent of Consul 1.5 that starts together with its cluster, as
// that goes by its source: what its cache is asked for before the authority is
// made, it answers without a trust domain for ten minutes.
type youngAgent struct {
	http.Handler // what it is once there is an authority
	// led and made are when the cluster has a leader and an authority; never
	// where zero.
	led, made time.Time
	// lost is that its servers answer nothing.
	lost bool
	// away is that it cannot be reached.
	away bool

	mu      sync.Mutex // guards all but Handler
	asked   time.Time  // when its cache was asked first
	spoiled bool
	outages uint64
}

// restart starts it anew, with a cluster that has an authority that much later.
func (a *youngAgent) restart(later time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.away, a.spoiled, a.asked = false, false, time.Time{}
	a.led, a.made = time.Now().Add(later/2), time.Now().Add(later)
}

func (a *youngAgent) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.away = true
	a.outages++
}

func (a *youngAgent) count() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.outages
}

func (a *youngAgent) state() (led, made time.Time, lost, away bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.led, a.made, a.lost, a.away
}

func (a *youngAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	led, made, lost, away := a.state()
	switch path := r.URL.Path; {
	case away:
		panic(http.ErrAbortHandler)
	case lost && (path == "/v1/connect/ca/roots" || path == "/v1/status/leader"):
		<-r.Context().Done()
	case path == "/v1/status/leader":
		leader := `""`
		if has(led) {
			leader = `"127.0.0.1:8300"`
		}
		_, _ = w.Write([]byte(leader))
	case path == "/v1/connect/ca/roots" && !has(led):
		hold := 7 * time.Second
		if !led.IsZero() {
			hold = min(hold, time.Until(led))
		}
		select {
		case <-time.After(hold):
		case <-r.Context().Done():
		}
		http.Error(w, "No cluster leader", http.StatusInternalServerError)
	case path == "/v1/connect/ca/roots" && !has(made):
		_, _ = w.Write([]byte(`{"TrustDomain": "", "Roots": []}`))
	case strings.HasPrefix(path, "/v1/agent/connect/ca/") && a.isSpoiled():
		http.Error(w, "cluster has no CA bootstrapped yet", http.StatusInternalServerError)
	default:
		a.Handler.ServeHTTP(w, r)
	}
}

func has(at time.Time) bool { return !at.IsZero() && !time.Now().Before(at) }

func (a *youngAgent) isSpoiled() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked.IsZero() {
		a.asked = time.Now()
	}
	a.spoiled = a.spoiled || !a.made.IsZero() && !has(a.made)
	return a.spoiled
}

func (a *youngAgent) firstAsked() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked
}

// started runs the identity of "web" on the agent. What it returns ends that, and
// fails the test if it does not end at once.
func (a *youngAgent) started(t *testing.T, managed bool) (i *Identity, end func()) {
	t.Helper()
	client, err := api.NewClient(&api.Config{Address: "127.0.0.1", HttpClient: &http.Client{Transport: traffic.Direct{Handler: a}}})
	if err != nil {
		t.Fatal(err)
	}
	i = New(Options{Client: client, Service: "web", Managed: managed, Outages: a.count})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- i.Run(ctx) }()
	return i, func() {
		t.Helper()
		began := time.Now()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) || !time.Now().Equal(began) {
			t.Errorf("Run returned %v after %s", err, time.Since(began))
		}
	}
}

func TestTheAgentIsAskedForCertificatesOnceItsClusterHasAnAuthority(t *testing.T) {
	for name, c := range map[string]struct {
		led, made   time.Duration // from the start; negative: never
		lost        bool
		least, most time.Duration // until the agent's cache is asked
		why         string        // given a moment before that
	}{
		"which it has":                     {0, 0, false, 0, 0, ""},
		"which is being made":              {0, 3 * time.Second, false, 3 * time.Second, 4 * time.Second, errNoAuthority.Error()},
		"which takes long":                 {0, time.Hour, false, time.Hour, time.Hour + time.Second, errNoAuthority.Error()},
		"after the first election":         {10 * time.Second, 11 * time.Second, false, 11 * time.Second, 12 * time.Second, errNoAuthority.Error()},
		"of which nothing is known":        {-1, -1, false, leaderWait, leaderWait + 3*time.Second, errNoLeader.Error()},
		"whose servers answer nothing now": {-1, -1, true, authorityTimeout, authorityTimeout, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				at := func(d time.Duration) time.Time {
					if d < 0 {
						return time.Time{}
					}
					return began.Add(d)
				}
				fake := fakeagent.New(t, fakeagent.Options{InMemory: true})
				agent := &youngAgent{Handler: fake.Front, led: at(c.led), made: at(c.made), lost: c.lost}
				i, end := agent.started(t, true)
				defer end()
				if c.least > 0 {
					pass(c.least - time.Millisecond)
					if !strings.Contains(i.Problem(), c.why) {
						t.Errorf("%s before it: %s", c.least, i.Problem())
					}
					if !agent.firstAsked().IsZero() {
						t.Errorf("the agent's cache was asked after %s", agent.firstAsked().Sub(began))
					}
				}
				pass(c.most - c.least + 20*time.Second)
				if took := agent.firstAsked().Sub(began); took < c.least || took > c.most {
					t.Errorf("the agent's cache was asked after %s, want %s to %s", took, c.least, c.most)
				}
				if why := i.Problem(); why != "" {
					t.Errorf("no certificates: %s", why)
				}
			})
		})
	}
}

// It costs servers and agent no question more, and does not wait for them.
func TestAProxyThatItsAgentDidNotLaunchAsksItAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := fakeagent.New(t, fakeagent.Options{InMemory: true})
		agent := &youngAgent{Handler: fake.Front, lost: true}
		began := time.Now()
		i, end := agent.started(t, false)
		defer end()
		pass(time.Second)
		if at := agent.firstAsked(); !at.Equal(began) || i.Problem() != "" {
			t.Errorf("asked after %s, %s", at.Sub(began), i.Problem())
		}
	})
}

func TestAnAgentThatIsBackWithoutItsDataIsAskedOnceItsClusterHasAnAuthority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := fakeagent.New(t, fakeagent.Options{InMemory: true})
		agent := &youngAgent{Handler: fake.Front, led: time.Now(), made: time.Now()}
		i, end := agent.started(t, true)
		defer end()
		pass(time.Minute)
		before := i.Status()
		agent.leave()
		pass(2 * time.Minute)
		next := listenertest.NewCAFor(t, fake.TrustDomain())
		fake.Trust(next)
		agent.restart(10 * time.Second)
		began := time.Now()
		pass(time.Minute)
		if took := agent.firstAsked().Sub(began); took < 10*time.Second || took > 25*time.Second {
			t.Errorf("its cache was asked after %s", took)
		}
		if s := i.Status(); before.Generation != 1 || s.RootChanges != before.RootChanges+1 || s.Problem != "" {
			t.Errorf("before %+v, then %+v", before, s)
		}
	})
}

// It may be back before anything is asked for: what is held at it has told of its end.
func TestAnAgentThatIsBackAtOnceWithoutItsDataIsAskedOnceItsClusterHasAnAuthority(t *testing.T) {
	for phase := range 24 {
		for _, away := range []time.Duration{100 * time.Millisecond, 2 * time.Second, 7 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				fake := fakeagent.New(t, fakeagent.Options{InMemory: true})
				agent := &youngAgent{Handler: fake.Front, led: time.Now(), made: time.Now()}
				i, end := agent.started(t, true)
				defer end()
				pass(time.Minute + time.Duration(phase)*250*time.Millisecond)
				agent.leave()
				pass(away)
				agent.restart(2 * time.Second)
				began := time.Now()
				pass(time.Minute)
				if took := agent.firstAsked().Sub(began); took < 2*time.Second || i.Problem() != "" {
					t.Errorf("phase %d, away for %s: its cache was asked after %s, %s", phase, away, took, i.Problem())
				}
			})
		}
	}
}

func TestTheEndDoesNotWaitForAnAuthority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, agent := range []*youngAgent{{lost: true}, {}, {led: time.Now()}} {
			agent.Handler = http.NotFoundHandler()
			_, end := agent.started(t, true)
			pass(100 * time.Millisecond)
			end()
		}
	})
}

func TestRootsThatAnAgentKeepsFromBeforeItsAuthoritySayWhatToDo(t *testing.T) {
	_, err := parseRoots(rootsAnswer{Roots: []rootAnswer{{ID: "1"}}}, time.Now)
	if err == nil || !strings.Contains(err.Error(), "restarted") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
}
