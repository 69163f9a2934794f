package systemtest_test

import (
	"errors"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/traffic"
)

func TestWhateverTheAgentAnswersTrafficFlowsAndChangesTakeEffectAfterwards(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	m := startMesh(t, agenttest.Modern(t, agenttest.Options{}), meshOptions{
		doors: true, config: map[string]any{"handshake_timeout_ms": judgedWithin},
	})
	for _, tc := range []struct {
		name  string
		fault traffic.Fault
		// old waits until decisions in use have grown old and could not be made
		// anew.
		old bool
	}{
		{"no leader", traffic.Fault{Status: 500, Body: "No cluster leader"}, true},
		{"500", traffic.Fault{Status: 500, Body: "rpc error making call: EOF"}, false},
		{"429", traffic.Fault{Status: 429, Body: "Your IP is issuing too many concurrent connections"}, false},
		{"404", traffic.Fault{Status: 404, Body: "unknown proxy service ID: db-sidecar-proxy"}, false},
		{"garbage", traffic.Garbage(), true},
		{"cut", traffic.Fault{Cut: true}, false},
		{"never", traffic.Fault{Hang: true}, false},
	} {
		t.Logf("the agent answers: %s", tc.name)
		began := time.Now()
		w := m.witness("witness-" + tc.name)
		stranger := newCaller(t, m.agent, "stranger-"+tc.name)
		m.fail(tc.fault)
		stranger.refusedWhile(m.db, func() {
			m.load.flows(20)
			if tc.old {
				m.blind()
				m.load.flows(visitsIn(6 * time.Second))
			}
		})
		m.heal()
		w.sees(time.Now())
		// A question that failed is not put again at once.
		agenttest.Eventually(t, effect, func() error {
			_, err := stranger.call(m.db.port, "db")
			return err
		})
		m.load.unharmed(began)
	}
	for _, n := range []*node{m.db, m.web} {
		n.proxy.ready()
	}
	m.load.stop()
	m.load.unharmed(m.began)
}

// visitsIn is how many new connections a way gets in that time.
func visitsIn(d time.Duration) int { return int(d / visitEvery) }

// blind waits until db's proxy cannot watch its intentions. From then on it
// asks about a caller again after 5 s.
func (m *mesh) blind() {
	m.t.Helper()
	agenttest.Eventually(m.t, soon, func() error {
		s, err := m.db.proxy.health()
		if err == nil && !s.Authorizer.Unwatched {
			err = errors.New("the intentions are watched")
		}
		return err
	})
}
