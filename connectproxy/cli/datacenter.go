package cli

import (
	"context"
	"slices"
	"time"

	"connect-proxy/config"
)

// inDatacenter is a source whose upstreams are in another datacenter than the
// agent's unless they name one themselves. That is what -datacenter can mean to
// a sidecar: asked of another datacenter, the agent would give neither a leaf
// for the service here nor the intentions that hold here.
type inDatacenter struct {
	config.Source
	datacenter string
}

// Next is the source's, with the datacenter filled in.
func (e inDatacenter) Next(ctx context.Context) (*config.Config, error) {
	c, err := e.Source.Next(ctx)
	if c == nil || e.datacenter == "" {
		return c, err
	}
	out := *c
	out.Upstreams = slices.Clone(c.Upstreams)
	for i := range out.Upstreams {
		if d := &out.Upstreams[i].Destination; d.Datacenter == "" && d.OfConsul() {
			d.Datacenter = e.datacenter
		}
	}
	return &out, err
}

// Confirmed is the source's, where it has one.
func (e inDatacenter) Confirmed() time.Time {
	if c, ok := e.Source.(config.Confirmer); ok {
		return c.Confirmed()
	}
	return time.Time{}
}
