package connectproxy_test

import (
	"errors"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/traffic"
)

var (
	errServed = errors.New("it is served")
	errTurned = errors.New("what is allowed has changed")
)

func TestAFlappingIntentionDisturbsNobodyElseAndEndsAsItShould(t *testing.T) {
	agenttest.SkipShort(t)
	t.Parallel()
	m := startMesh(t, agenttest.Modern(t, agenttest.Options{}), meshOptions{doors: true})
	flapper := newCaller(t, m.agent, "flapper")
	const turns = 40 // ten a second
	for _, last := range []string{"deny", "allow"} {
		m.agent.Intention("flapper", "db", "allow")
		flapper.holds(1, m.db.port, "db")
		m.db.door.ResetCounts()
		began := time.Now()
		tick := time.NewTicker(100 * time.Millisecond)
		for n := range turns {
			action := last
			if n%2 == 0 {
				action = map[string]string{"deny": "allow", "allow": "deny"}[last]
			}
			m.agent.Intention("flapper", "db", action)
			<-tick.C
		}
		tick.Stop()
		agenttest.Eventually(t, soon, func() error {
			_, err := flapper.call(m.db.port, "db")
			switch {
			case last == "allow":
				return err
			case err == nil:
				return errServed
			}
			return nil
		})
		agenttest.Always(t, time.Second, func() error {
			if _, err := flapper.call(m.db.port, "db"); (err == nil) != (last == "allow") {
				return errTurned
			}
			return nil
		})
		asked, matched := m.db.door.Requests(traffic.Authorize), m.db.door.Requests(traffic.IntentionsMatch)
		t.Logf("%d changes in %s: %d questions about two callers, %d for the intentions", turns, time.Since(began).Round(time.Second), asked, matched)
		// The intentions are asked for four times a second at most; each answer
		// asks about each of the two callers, and again after it has settled.
		seconds := int(time.Since(began).Seconds()) + 1
		if matched > 4*seconds+2 || asked > 2*(4+2)*seconds {
			t.Errorf("%d questions about callers and %d for the intentions in %d s", asked, matched, seconds)
		}
		m.load.unharmed(m.began)
	}
	m.load.stop()
	m.load.unharmed(m.began)
}
