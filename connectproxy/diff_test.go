package connectproxy

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"connect-proxy/config"
)

func TestDiffTouchesNothingThatIsTheSame(t *testing.T) {
	public := func(port, local int) *config.Public {
		return &config.Public{Bind: tcp("0.0.0.0", port), Local: tcp("127.0.0.1", local), ALPN: []string{"h2"}}
	}
	up := func(name string, port int) config.Upstream {
		return config.Upstream{
			Destination: config.Destination{Type: config.Service, Name: name},
			Bind:        tcp("127.0.0.1", port),
		}
	}
	slow := func(u config.Upstream) config.Upstream { u.ConnectTimeout = 7 * time.Second; return u }
	base := config.Config{Service: "web", Public: public(20000, 8080), Upstreams: []config.Upstream{up("a", 1), up("b", 2)}}
	pub, a, b, c := keyOf(rolePublic, tcp("0.0.0.0", 20000)), upKey("127.0.0.1", 1), upKey("127.0.0.1", 2), upKey("127.0.0.1", 3)

	type want struct{ stopFirst, start, update, stop []key }
	for _, tc := range []struct {
		name string
		to   config.Config
		want want
	}{
		{"the same, made anew", config.Config{Service: "web", Public: public(20000, 8080), Upstreams: []config.Upstream{up("a", 1), up("b", 2)}}, want{}},
		{"the same in another order", config.Config{Service: "web", Public: public(20000, 8080), Upstreams: []config.Upstream{up("b", 2), up("a", 1)}}, want{}},
		{"one dropped, one added, the local port moved", config.Config{
			Public: public(20000, 9090), Upstreams: []config.Upstream{up("b", 2), up("c", 3)},
		}, want{start: []key{c}, update: []key{pub}, stop: []key{a}}},
		{"an option of one upstream", config.Config{
			Public: public(20000, 8080), Upstreams: []config.Upstream{slow(up("a", 1)), up("b", 2)},
		}, want{update: []key{a}}},
		{"another destination on the same address", config.Config{
			Public: public(20000, 8080), Upstreams: []config.Upstream{up("z", 1), up("b", 2)},
		}, want{update: []key{a}}},
		{"the public port moves", config.Config{
			Public: public(20001, 8080), Upstreams: []config.Upstream{up("a", 1), up("b", 2)},
		}, want{start: []key{keyOf(rolePublic, tcp("0.0.0.0", 20001))}, stop: []key{pub}}},
		{"from every host to one, on the same port", config.Config{
			Public:    &config.Public{Bind: tcp("127.0.0.1", 20000), Local: tcp("127.0.0.1", 8080)},
			Upstreams: []config.Upstream{up("a", 1), up("b", 2)},
		}, want{start: []key{keyOf(rolePublic, tcp("127.0.0.1", 20000))}, stopFirst: []key{pub}}},
		{"an upstream takes the public port's place", config.Config{
			Upstreams: []config.Upstream{up("a", 20000), up("b", 2)},
		}, want{start: []key{upKey("127.0.0.1", 20000)}, stopFirst: []key{pub}, stop: []key{a}}},
		{"an upstream moves from localhost to the address that it stands for", config.Config{
			Public:    public(20000, 8080),
			Upstreams: []config.Upstream{{Destination: up("a", 1).Destination, Bind: tcp("localhost", 1)}, up("b", 2)},
		}, want{start: []key{upKey("localhost", 1)}, stopFirst: []key{a}}},
		{"nothing left", config.Config{}, want{stop: []key{pub, a, b}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := diff(translate(&base).specs, translate(&tc.to).specs)
			keys := want{got.stopFirst, keysOf(got.start), keysOf(got.update), got.stop}
			if d := cmp.Diff(tc.want, keys, cmp.AllowUnexported(want{}, key{})); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func tcp(host string, port int) config.Address { return config.Address{Host: host, Port: port} }

func upKey(host string, port int) key { return keyOf(roleUpstream, tcp(host, port)) }

func keysOf(specs []*spec) []key {
	var out []key
	for _, s := range specs {
		out = append(out, s.key)
	}
	return out
}
