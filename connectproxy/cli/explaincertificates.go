package cli

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/identity"
)

// leaf has the certificate of the caller and the roots fetched, and judged as a
// proxy judges them.
func (e *explanation) leaf(ctx context.Context) bool {
	e.identity = identity.New(identity.Options{Client: e.client, Service: e.from})
	running, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); _ = e.identity.Run(running) }()
	defer func() { stop(); <-done }()
	e.awaitCertificates(ctx)
	s := e.identity.Status()
	if s.Problem != "" {
		e.certificateProblem(ctx, s)
		return false
	}
	e.add("certificates", good, "", "leaf %s, valid until %s", s.SpiffeID, s.LeafNotAfter.Format(time.RFC3339))
	e.add("certificates", good, "", "%s of trust domain %s", counted(len(s.Roots), "root", "roots"), s.TrustDomain)
	return true
}

// awaitCertificates returns when there are certificates to judge, or when the agent
// has failed for some time.
func (e *explanation) awaitCertificates(ctx context.Context) {
	tick := time.NewTicker(explainDoubt / 4)
	defer tick.Stop()
	for began := time.Now(); ; {
		s := e.identity.Status()
		if time.Since(began) > explainDoubt && (s.Leaf.Error != "" || s.RootsSeen.Error != "") {
			return
		}
		select {
		case <-e.identity.Ready():
			return
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// certificateProblem finds out which is at fault: the token, a clock, the leaf or the
// roots.
func (e *explanation) certificateProblem(ctx context.Context, s identity.Status) {
	path := "/v1/agent/connect/ca/leaf/" + e.from
	leaf, _, err := e.client.Agent().ConnectCALeaf(e.from, e.query(ctx))
	now := time.Now()
	var status api.StatusError
	switch {
	case errors.As(err, &status) && status.Code == http.StatusForbidden:
		e.add("certificates", failing, "consul acl token create -service-identity="+e.from, "no leaf certificate for %s: %v", e.from, err)
	case err != nil:
		e.add("certificates", failing, e.curlCommand(path), "no leaf certificate for %s: %v", e.from, err)
	case now.Before(leaf.ValidAfter) || now.After(leaf.ValidBefore):
		e.add("certificates", failing, "set the clock that is wrong, here or of the agent; "+e.curlCommand(path), "the leaf certificate of %s cannot be used: %s", e.from, s.Problem)
	case s.RootsSeen.Error != "":
		e.add("certificates", failing, e.curlCommand("/v1/agent/connect/ca/roots"), "no roots: %s", s.RootsSeen.Error)
	default:
		e.add("certificates", failing, e.curlCommand(path), "no certificates for %s: %s", e.from, s.Problem)
	}
}
