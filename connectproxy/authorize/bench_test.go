package authorize

import (
	"context"
	"testing"

	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/listener"
)

// BenchmarkAuthorizeCached is a caller judged from memory, by all cores.
func BenchmarkAuthorizeCached(b *testing.B) {
	agent := fakeagent.New(b, fakeagent.Options{})
	a := New(Options{Client: agent.Client(""), Service: "web"})
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = a.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
	s := listener.Session{SessionInfo: listener.SessionInfo{Peer: agent.URI("api"), Serial: "0a"}}
	if err := a.Authorize(b.Context(), s); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := a.Authorize(ctx, s); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
