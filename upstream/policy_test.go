package upstream

import (
	"context"
	"net/netip"
	"testing"
)

// byPort sends each port of a client to an instance of its own.
type byPort struct{}

func (byPort) ordered() bool { return false }

func (byPort) draw(_ *Upstream, p *picker, turns int, r request) *instanceSlot {
	return p.turn(int(r.client.Port()) % turns)
}

func TestAPolicyMayGoByTheClient(t *testing.T) {
	const balance = "by port, for a test"
	policies[balance] = byPort{}
	t.Cleanup(func() { delete(policies, balance) })
	type key struct{}
	u := start(t, Options{
		Resolver: newFakeResolver(instances(4)...), Balance: balance,
		Client: func(ctx context.Context) netip.AddrPort { return ctx.Value(key{}).(netip.AddrPort) },
	})
	for port := range uint16(8) {
		ctx := context.WithValue(t.Context(), key{}, netip.AddrPortFrom(netip.IPv6Loopback(), port))
		c, err := u.Dial(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := c.Endpoint.ID, instances(4)[port%4].ID; got != want {
			t.Errorf("port %d was led to %s, want %s", port, got, want)
		}
		c.Release()
	}
}
