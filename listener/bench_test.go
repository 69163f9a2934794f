package listener_test

import (
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"testing"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/secure"
)

// BenchmarkConnection measures accept, handshake, dial, one byte each way and
// the end, client and application included.
func BenchmarkConnection(b *testing.B) {
	w := newWorld(b)
	b.Run("plain", func(b *testing.B) {
		benchmarkConnection(b, w, false, func(raw net.Conn) (net.Conn, error) { return raw, nil })
	})
	cfg := w.ca.ClientTLS(w.web)
	b.Run("TLS", func(b *testing.B) {
		benchmarkConnection(b, w, true, func(raw net.Conn) (net.Conn, error) {
			return (&secure.Config{TLS: cfg}).Client(b.Context(), raw)
		})
	})
	resume := w.ca.ClientTLS(w.web)
	resume.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	resume.ServerName = "db"
	b.Run("TLS resumed", func(b *testing.B) {
		benchmarkConnection(b, w, true, func(raw net.Conn) (net.Conn, error) {
			return (&secure.Config{TLS: resume}).Client(b.Context(), raw)
		})
	})
}

func benchmarkConnection(b *testing.B, w world, public bool, shake func(net.Conn) (net.Conn, error)) {
	app := listenertest.NewEcho(b)
	o := listener.Options{Dial: dialTo(app.Addr())}
	if public {
		o = w.public(app.Addr())
	}
	o.Observer = &tally{}
	l := start(b, o)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		raw, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		c, err := shake(raw)
		if err != nil {
			b.Fatal(err)
		}
		one := []byte{1}
		if _, err := c.Write(one); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, one); err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
	}
}

// BenchmarkIdle reports what a connection holds while nothing moves, in heap and
// in stacks. The client's socket and the application's, with its goroutine, are
// in it: some 2 kB of each.
func BenchmarkIdle(b *testing.B) {
	w := newWorld(b)
	for name, public := range map[string]bool{"plain": false, "TLS": true} {
		b.Run(name, func(b *testing.B) {
			parked := make(chan struct{})
			app := listenertest.NewServer(b, func(*net.TCPConn) { <-parked })
			o := listener.Options{Dial: dialTo(app.Addr())}
			if public {
				o = w.public(app.Addr())
			}
			l := start(b, o)
			var conns []net.Conn
			heap, stack := memory()
			const n = 500
			for range n {
				raw := l.dial(b)
				conns = append(conns, raw)
				if public {
					if _, err := (&secure.Config{TLS: w.ca.ClientTLS(w.web)}).Client(b.Context(), raw); err != nil {
						b.Fatal(err)
					}
				}
			}
			l.waitOpened(b, n)
			moreHeap, moreStack := memory()
			b.ReportMetric(float64(moreHeap-heap)/n, "heap-B/conn")
			b.ReportMetric(float64(moreStack-stack)/n, "stack-B/conn")
			b.ReportMetric(0, "ns/op")
			runtime.KeepAlive(conns)
			close(parked)
		})
	}
}

func memory() (heap, stack int64) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.StackInuse)
}
