package pebble

import (
	"context"
	"net"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEveryNameLeadsToThisMachine(t *testing.T) {
	address := resolver(t)
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}}
	got, err := r.LookupHost(t.Context(), "edge.test")
	if err != nil || !slices.Equal(got, []string{"127.0.0.1"}) {
		t.Errorf("%v %v", got, err)
	}
}
