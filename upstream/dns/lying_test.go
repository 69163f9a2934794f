package dns

import (
	"context"
	"net"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"connect-proxy/listener/listenertest"
	"connect-proxy/upstream"
)

// lying is a server of the DNS that answers every question by records with these
// targets.
func lying(t *testing.T, targets ...string) *net.Resolver {
	t.Helper()
	at, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for b := make([]byte, 1<<12); ; {
			n, from, err := at.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Additionals = true, nil
			for _, target := range targets {
				m.Answers = append(m.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET},
					Body:   &dnsmessage.SRVResource{Port: 6379, Target: dnsmessage.MustNewName(target)},
				})
			}
			if answer, err := m.Pack(); err == nil {
				_, _ = at.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() { at.Close(); <-ended })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", at.LocalAddr().String())
	}}
}

func TestATargetThatIsNoNameHarmsNoOther(t *testing.T) {
	r := New(Options{
		Name: "_redis._tcp.example.org", Label: "redis", Lookup: lying(t, "a b.example.org.", "a.example.org.", "a\nb.example.org."),
		Identity: func(host string) upstream.Identity { return upstream.Identity{Host: host} },
	})
	listenertest.Run(t, r.Run)
	listenertest.Within(t, 20*time.Second, "a set", func() bool { _, ok := r.Set(); return ok })
	s, _ := r.Set()
	if len(s.Endpoints) != 1 || s.Endpoints[0].Address != "a.example.org:6379" {
		t.Errorf("%+v", s.Endpoints)
	}
}
