package agenttest

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/listener/listenertest"
)

// WaitReady waits until the agent has a leader, a CA, an ACL system that knows
// Token if there is one, and itself in the catalog, and fails the test if the
// agent ends before that.
func (a *Agent) WaitReady() {
	a.t.Helper()
	begin := time.Now()
	if err := listenertest.Poll(startWithin, a.process.Done(), a.ready); err != nil {
		if !a.process.Running() {
			a.t.Fatalf("Consul %s ended instead of becoming ready (%v)", a.release.Version, err)
		}
		a.t.Fatalf("Consul %s is not ready after %s: %v", a.release.Version, startWithin, err)
	}
	a.Started = time.Since(begin)
}

// errNoTrustDomain is an agent that was asked for the roots while its server made
// the CA, as by a proxy that it launched, and may go by that half of an answer
// until the roots change (Consul 1.5).
var errNoTrustDomain = errors.New("no trust domain")

// missedAfter is how long an agent's answer may lack the trust domain.
const missedAfter = 5 * time.Second

// missedCA waits a little for the agent to be ready, and reports whether nothing
// but errNoTrustDomain is in the way.
func (a *Agent) missedCA() bool {
	return errors.Is(listenertest.Poll(missedAfter, a.process.Done(), a.ready), errNoTrustDomain)
}

func (a *Agent) ready() error {
	leader, err := a.Client.Status().Leader()
	if err != nil {
		return fmt.Errorf("asking for the leader: %w", err)
	}
	if leader == "" {
		return errors.New("no leader")
	}
	// Not through the agent's cache at first, which would keep such an answer.
	roots, _, err := a.Client.Connect().CARoots(nil)
	if err == nil && roots.TrustDomain != "" {
		roots, _, err = a.Client.Agent().ConnectCARoots(nil)
	}
	if err != nil {
		return fmt.Errorf("asking for the roots: %w", err)
	}
	if len(roots.Roots) == 0 {
		return errors.New("no root certificate")
	}
	if roots.TrustDomain == "" {
		return errNoTrustDomain
	}
	if a.Token != "" {
		if _, _, err := a.Client.ACL().TokenReadSelf(nil); err != nil {
			return fmt.Errorf("asking for the token: %w", err)
		}
	}
	checks, _, err := a.Client.Health().Node(a.NodeName, nil)
	if err != nil {
		return fmt.Errorf("asking for the node: %w", err)
	}
	// Only with this check does a health query know the node's services.
	for _, check := range checks {
		if check.CheckID == "serfHealth" && check.Status == api.HealthPassing {
			return nil
		}
	}
	return errors.New("the node is not in the catalog")
}
