package connectproxy

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/accesslog"
	"connect-proxy/connectproxy/metrics"
	"connect-proxy/listener"
)

// What a connection costs whoever serves it, in metrics alone and in metrics and
// the access log: its counters, its beginning and its end.
func BenchmarkObserving(b *testing.B) {
	for name, logged := range map[string]bool{"metrics": false, "metrics and access log": true} {
		for direction, counts := range map[string]metrics.Direction{"inbound": metrics.Inbound, "outbound": metrics.Outbound} {
			b.Run(name+"/"+direction, func(b *testing.B) {
				m := metrics.New(metrics.Options{})
				counter := connCounter{m.Listener(counts, metrics.Destination{Service: "db", Namespace: "default", Partition: "default"})}
				o := listener.Options{Observer: counter, Counters: counter.counters}
				if logged {
					f, err := os.Create(filepath.Join(b.TempDir(), "log"))
					if err != nil {
						b.Fatal(err)
					}
					defer f.Close()
					l := accesslog.New(accesslog.Options{Stdout: f, Stderr: io.Discard})
					defer l.Close(time.Second)
					if _, err := l.Update(config.AccessLog{Connections: config.AccessLogAll}); err != nil {
						b.Fatal(err)
					}
					o.Observer = bothObservers{counter, l.Observer(accesslog.ListenerInfo{Direction: accesslog.Direction(counts), Service: "web", Destination: "db"})}
				}
				one := relayed()
				b.ReportAllocs()
				for b.Loop() {
					one.ID++
					o.Counters(one.Open)
					o.Observer.ConnOpened(one.Open)
					o.Observer.ConnClosed(one)
				}
			})
		}
	}
}

func relayed() listener.Summary {
	at := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 50000}
	return listener.Summary{
		Open: listener.Open{
			Listener: "public", Start: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), Client: at, Local: at,
			SessionInfo: listener.SessionInfo{Peer: "spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/dc1/svc/web", TLSVersion: 0x304, Resumed: true},
			Instance:    listener.Instance{ID: "node/db-1", Address: "10.0.0.2:20000", Attempts: 1},
			Handshake:   time.Millisecond, Dial: time.Millisecond,
		},
		ToUpstream: 64, ToClient: 64, Duration: 5 * time.Millisecond, Reason: listener.ReasonClosed, Relayed: true,
	}
}
