package systemtest_test

import (
	"cmp"
	"errors"
	"fmt"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/traffic"
)

var (
	errServed = errors.New("it is served")
	errYoung  = errors.New("it has been so for less than a second")
)

func TestAFlappingIntentionDisturbsNobodyElseAndEndsAsItShould(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
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
		// The answer that is in force may be one of before, and the next as well: it
		// has ended as it should once it is so for a second.
		var since time.Time
		agenttest.Eventually(t, soon, func() error {
			if _, err := flapper.call(m.db.port, "db"); (err == nil) != (last == "allow") {
				since = time.Time{}
				return fmt.Errorf("%s is not in force: %w", last, cmp.Or(err, errServed))
			}
			if since.IsZero() {
				since = time.Now()
			}
			if time.Since(since) < time.Second {
				return errYoung
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
