package agenttest

import (
	"errors"
	"maps"
	"net/http"

	"connect-proxy/listener/listenertest"
)

// RotateRoot gives Consul's own CA a new key, and so a new root certificate,
// which the old one cross-signs, and waits until the agent shows it. The trust
// domain of a cluster never changes.
func (a *Agent) RotateRoot() {
	a.t.Helper()
	key := (&listenertest.Certificate{Key: listenertest.NewKey(a.t)}).KeyPEM(a.t)
	before := a.activeRoot()
	a.SetCAConfig(map[string]any{"PrivateKey": key})
	Eventually(a.t, startWithin, func() error {
		if a.activeRoot() == before {
			return errors.New("the old root is still active")
		}
		return nil
	})
}

// SetCAConfig changes settings of Consul's own CA, in the spelling of the API:
// LeafCertTTL, RotationPeriod.
func (a *Agent) SetCAConfig(settings map[string]any) {
	a.t.Helper()
	var config struct {
		Provider string
		Config   map[string]any
	}
	a.Do(http.MethodGet, "/v1/connect/ca/configuration", nil, &config)
	if config.Config == nil {
		config.Config = map[string]any{}
	}
	maps.Copy(config.Config, settings)
	a.Do(http.MethodPut, "/v1/connect/ca/configuration", config, nil)
}

func (a *Agent) activeRoot() string {
	a.t.Helper()
	roots, _, err := a.Client.Agent().ConnectCARoots(nil)
	if err != nil {
		a.t.Fatalf("asking for the roots: %v", err)
	}
	return roots.ActiveRootID
}
