package relay

import (
	"io"
	"net"
	"testing"

	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/secure"
)

// chains are what lies between a client and an application, both of which
// speak without TLS: the relays themselves are measured, and what the kernel
// costs.
var chains = []struct {
	name         string
	pair, opaque bool
}{
	{name: "one relay, plain"},
	{name: "pair with TLS", pair: true},
	{name: "pair with TLS, copied", pair: true, opaque: true},
}

// chain connects a client with an application.
func chain(b *testing.B, pair, copied bool) (client, app net.Conn) {
	b.Helper()
	client, in := listenertest.TCPPair(b)
	out, app := listenertest.TCPPair(b)
	join := func(a, c Conn) {
		if copied {
			a, c = opaque{a}, opaque{c}
		}
		// An engine for each, as in two processes.
		e := New()
		b.Cleanup(e.Close)
		e.Start(a, c, Options{Counters: new(Counters)}, func(Result) {})
	}
	if !pair {
		join(in, out)
		return client, app
	}
	server, dialler := configs(b, 0)
	near, far := listenertest.TCPPair(b)
	shaken := make(chan error, 1)
	var accepted *secure.Conn
	go func() {
		var err error
		accepted, err = own(server).Server(b.Context(), far)
		shaken <- err
	}()
	dialled, err := own(dialler).Client(b.Context(), near)
	if err != nil {
		b.Fatal(err)
	}
	join(in, dialled) // which sends the last flight of the handshake
	if err := <-shaken; err != nil {
		b.Fatal(err)
	}
	join(accepted, out)
	return client, app
}

// BenchmarkSmall sends 64 bytes and waits for 64.
func BenchmarkSmall(b *testing.B) {
	for _, c := range chains {
		b.Run(c.name, func(b *testing.B) {
			client, app := chain(b, c.pair, c.opaque)
			go func() { _, _ = io.CopyBuffer(struct{ io.Writer }{app}, struct{ io.Reader }{app}, make([]byte, 64)) }()
			message := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.Write(message); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(client, message); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkBulk sends 256 KiB, as fast as they are taken at the other end.
func BenchmarkBulk(b *testing.B) {
	const size = 256 << 10
	for _, c := range chains {
		b.Run(c.name, func(b *testing.B) {
			client, app := chain(b, c.pair, c.opaque)
			b.SetBytes(size)
			b.ReportAllocs()
			b.ResetTimer()
			taken := make(chan error, 1)
			go func() {
				_, err := io.CopyN(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{app}, int64(b.N)*size)
				taken <- err
			}()
			message := make([]byte, size)
			for range b.N {
				if _, err := client.Write(message); err != nil {
					b.Fatal(err)
				}
			}
			if err := <-taken; err != nil {
				b.Fatal(err)
			}
		})
	}
}
