package systemtest_test

import (
	"fmt"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
)

// A real CA refuses leafs of less than an hour unless it is told not to look. It
// dates them a minute back, which leaves a minute of these, and the agent renews
// such short ones with every question, of which there is one in five seconds.
func TestRotationsOfAShortLeafFailNoHandshake(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	a.SetCAConfig(map[string]any{"LeafCertTTL": "2m", "SkipValidate": true})
	m := startMesh(t, a, meshOptions{config: calmly(nil), upstream: patiently(nil)})
	const rotations = 10
	serials := map[string]map[string]bool{"db": {}, "web": {}}
	leafs := func() error {
		for _, n := range []*node{m.db, m.web} {
			s, err := n.proxy.health()
			if err != nil {
				return err
			}
			serials[n.name][s.Identity.LeafSerial] = true
		}
		if len(serials["db"]) <= rotations || len(serials["web"]) <= rotations {
			return fmt.Errorf("%d and %d leafs", len(serials["db"]), len(serials["web"]))
		}
		return nil
	}
	waiting(t, func() { agenttest.Eventually(t, 4*time.Minute, leafs) })
	t.Logf("%d rotations took %s", rotations, time.Since(m.began).Round(time.Second))
	m.load.stop()
	m.load.unharmed(m.began)
}
