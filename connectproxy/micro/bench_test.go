package micro

import "testing"

// BenchmarkACall is a call of a service that answers as one of Micro's does, and
// the same through the proxy, without a mesh behind it.
func BenchmarkACall(b *testing.B) {
	s := newService(b, "db")
	p := start(b, &mesh{services: map[string]string{"db": s.Addr()}})
	for name, address := range map[string]string{"directly": s.Addr(), "through the proxy": p.address()} {
		b.Run(name, func(b *testing.B) {
			c := callerAt(b, address)
			c.patient()
			b.ReportAllocs()
			for b.Loop() {
				if got, e := c.call("db", "hello"); got != "db got hello" {
					b.Fatalf("%q %+v", got, e)
				}
			}
		})
	}
}
