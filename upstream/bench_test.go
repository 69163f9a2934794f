package upstream

import (
	"context"
	"fmt"
	"net"
	"testing"
)

func benchUpstream(b *testing.B, o Options, eps []Endpoint) *Upstream {
	b.Helper()
	o.Name, o.Resolver = "db", newFakeResolver()
	if o.Dial == nil {
		o.Dial = func(context.Context, Endpoint) (net.Conn, error) { return conn{}, nil }
	}
	u, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	u.apply(Set{Endpoints: eps})
	return u
}

func BenchmarkPick(b *testing.B) {
	for _, balance := range []string{LeastConnections, RoundRobin, Random, Ordered} {
		for _, n := range []int{1, 4, 1000, 5000} {
			for _, weighted := range []bool{false, true} {
				b.Run(fmt.Sprintf("%s/%d/weighted=%t", balance, n, weighted), func(b *testing.B) {
					eps := instances(n)
					for i := range eps {
						if weighted {
							eps[i].Weight = 1 + i%3
						}
					}
					u := benchUpstream(b, Options{}, eps)
					b.ReportAllocs()
					b.ResetTimer()
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							now := u.now()
							c, ok := u.pick(u.current(now), policies[balance], request{}, nil, now, true)
							if !ok {
								b.Error("nothing picked")
								return
							}
							c.live.Add(-1)
						}
					})
				})
			}
		}
	}
}

func BenchmarkDial(b *testing.B) {
	for _, n := range []int{1, 4} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			u := benchUpstream(b, Options{}, instances(n))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					c, err := u.Dial(context.Background())
					if err != nil {
						b.Error(err)
						return
					}
					c.Release()
				}
			})
		})
	}
}

func BenchmarkApply(b *testing.B) {
	for _, n := range []int{4, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			eps := instances(n)
			eps[0].Weight = 3
			u := benchUpstream(b, Options{}, eps)
			b.ReportAllocs()
			for b.Loop() {
				u.apply(Set{Endpoints: eps})
			}
		})
	}
}
