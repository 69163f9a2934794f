package cli

import (
	"context"
	"sync"
	"time"

	"connect-proxy/upstream"
	"connect-proxy/upstream/catalog"
)

// dials finds the instances as a proxy does and opens a connection to each.
func (e *explanation) dials(ctx context.Context) {
	set, err := e.instances(ctx)
	switch {
	case err != nil:
		e.add("instances", failing, "the token needs service:read on "+e.to+" and node:read: "+e.curlCommand("/v1/health/connect/"+e.to),
			"they cannot be asked for: %v", err)
		return
	case len(set.Endpoints) == 0:
		e.noInstances(ctx, set)
		return
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); _ = e.identity.Run(running) }()
	defer func() { stop(); <-done }()
	tried := set.Endpoints[:min(len(set.Endpoints), mostExplains)]
	attempts := make([]attempt, len(tried))
	var all sync.WaitGroup
	for i, ep := range tried {
		all.Go(func() { attempts[i] = e.dial(ctx, ep) })
	}
	all.Wait()
	reached, sure := 0, 0
	for _, a := range attempts {
		e.findings = append(e.findings, a.finding)
		if a.reached {
			reached++
		}
		if a.Grade == good {
			sure++
		}
	}
	if reached == 0 {
		e.add("instances", failing, "the lines with ! above say what to do about each", "none of %d can be reached", len(tried))
	}
	e.unsure = sure == 0
}

// instances asks for those that a proxy would dial.
func (e *explanation) instances(ctx context.Context) (upstream.Set, error) {
	c := catalog.New(catalog.Options{Client: e.client})
	running, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(running) }()
	defer func() { stop(); <-done }()
	r := c.Chain(catalog.ChainOptions{Name: e.to})
	defer r.Close()
	changed := make(chan struct{}, 1)
	defer r.Follow(func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})()
	ctx, cancel := context.WithTimeout(ctx, explainStep)
	defer cancel()
	r.Use(ctx)
	tick := time.NewTicker(explainDoubt / 4)
	defer tick.Stop()
	for {
		if set, ok := r.Set(); ok {
			return set, nil
		}
		if s := r.Status(); s.Err != nil && time.Since(s.Failing) > explainDoubt {
			return upstream.Set{}, s.Err
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			if err := r.Status().Err; err != nil {
				return upstream.Set{}, err
			}
			return upstream.Set{}, ctx.Err()
		}
	}
}

// noInstances adds why there is none, as far as the catalog tells.
func (e *explanation) noInstances(ctx context.Context, set upstream.Set) {
	switch all, _, err := e.client.Health().Connect(e.to, "", false, e.query(ctx)); {
	case set.Reason != "":
		e.add("instances", failing, "look at the checks of the gateways: "+e.curlCommand("/v1/health/service/mesh-gateway"), "%s", set.Reason)
	case err == nil && len(all) > 0:
		e.add("instances", failing, e.curlCommand("/v1/health/connect/"+e.to),
			"%d are registered and none is healthy: look at their checks", len(all))
	default:
		plain, _, _ := e.client.Health().Service(e.to, "", false, e.query(ctx)) // nothing is a fitting answer too
		if len(plain) > 0 {
			e.add("instances", failing, "connect-proxy -sidecar-for "+plain[0].Service.ID, "%s is registered %d times, without a Connect proxy", e.to, len(plain))
			return
		}
		e.add("instances", failing, "consul catalog services", "%s is not registered, or the token may not see it (service:read and node:read)", e.to)
	}
}
