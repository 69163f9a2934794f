package micro

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/listener/listenertest"
)

// unreadRequests are requests with what a service has to read after their header, by whom
// they are sent to.
var unreadRequests = map[string][]string{
	"edge": {"POST /greeter/x HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 100000000\r\n\r\n"},
	"micro": {
		"POST /greeter/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n",
		"GET /greeter/x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: localhost\r\nMicro-Service: greeter\r\nContent-Length: 100000000\r\n\r\n",
	},
}

func startForUnread(t *testing.T, where string) *proxy {
	m := &mesh{services: map[string]string{"greeter": listenertest.NewUnreading(t).Addr()}}
	if where == "edge" {
		return startPublic(t, m, config.Edge{Allow: []string{"greeter"}, Namespace: "-", Handler: config.MicroProxy})
	}
	return start(t, m, func(s *Server) {
		if err := s.Update(config.Micro{Allow: []string{"greeter"}, Namespace: "-", Handler: config.MicroProxy}); err != nil {
			t.Fatal(err)
		}
	})
}

// sendUnread sends a request and as much after it as is taken.
func (p *proxy) sendUnread(t *testing.T, request string) *net.TCPConn {
	t.Helper()
	c := listenertest.Dial(t, "tcp", p.address()).(*net.TCPConn)
	listenertest.WriteUnread(t, c, request)
	return c
}

func TestAClientThatIsEndedIsServedNoMoreEvenIfItsServiceReadsNothing(t *testing.T) {
	t.Parallel()
	for where, requests := range unreadRequests {
		for _, request := range requests {
			t.Run(where, func(t *testing.T) {
				t.Parallel()
				p := startForUnread(t, where)
				p.sendUnread(t, request)
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
					defer cancel()
					_ = p.Drain(ctx)
				}()
				select {
				case <-ended:
				case <-time.After(20 * time.Second):
					t.Errorf("%q: %d clients are served still", request, p.Live())
				}
			})
		}
	}
}

// endless is a body without end.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestACallOfGRPCEndsWithItsClientEvenIfItsServiceReadsNothing(t *testing.T) {
	t.Parallel()
	for how, end := range map[string]func(p *proxy, c *net.TCPConn){
		"the proxy ends it": func(p *proxy, _ *net.TCPConn) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			_ = p.Drain(ctx)
		},
		"the client resets": func(_ *proxy, c *net.TCPConn) {
			_ = c.SetLinger(0)
			_ = c.Close()
		},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			reached, ended := make(chan struct{}), make(chan struct{})
			address, _ := newGRPCService(t, func(_ http.ResponseWriter, r *http.Request) {
				close(reached)
				<-r.Context().Done()
				close(ended)
			})
			p := start(t, &mesh{services: map[string]string{"greeter": address}})
			conn := listenertest.Dial(t, "tcp", p.address()).(*net.TCPConn)
			transport := &http.Transport{Protocols: h2c(), DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
			t.Cleanup(transport.CloseIdleConnections)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.address()+"/greeter.Greeter/Hello", endless{})
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/grpc")
			called := make(chan struct{})
			go func() {
				defer close(called)
				if response, err := transport.RoundTrip(r); err == nil {
					_ = response.Body.Close()
				}
			}()
			<-reached
			end(p, conn)
			select {
			case <-ended:
			case <-time.After(20 * time.Second):
				t.Error("the service has the call still")
			}
			listenertest.Eventually(t, "the client is served no more", func() bool { return p.Live() == 0 })
			<-called
		})
	}
}
