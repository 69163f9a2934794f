package micro

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"connect-proxy/connectproxy/agenttest/gomicro"
	"connect-proxy/listener/listenertest"
)

func TestGoMicroClientsOfGRPCCallServices(t *testing.T) {
	m := &mesh{services: map[string]string{
		"greeter":              gomicro.ServeGRPC(t, "v5", "greeter").Address,
		"go.micro.srv.greeter": gomicro.ServeGRPC(t, "v2", "go.micro.srv.greeter").Address,
	}}
	p := start(t, m)
	for _, release := range []string{"v5", "v2"} {
		t.Run(release, func(t *testing.T) {
			c := gomicro.ClientGRPC(t, release, p.address())
			for _, kind := range []string{"unary", "proto", "bidi", "client-stream"} {
				o := gomicro.Order{Kind: kind, Calls: 20, Parallel: 2, Services: []string{"greeter", "go.micro.srv.greeter"}}
				o.Request.Name, o.Request.Messages = kind, 20
				if got := c.Do(o); got.OK != 40 {
					t.Errorf("%s: %+v", kind, got)
				}
			}
			if got := c.Do(gomicro.Order{Kind: "unary", Services: []string{"nobody"}}); got.First.Code != http.StatusNotFound || got.First.ID != errorID {
				t.Errorf("a service that nobody has: %+v", got)
			}
		})
	}
}

// plain returns a service and a client of gRPC that know nothing of Micro.
func plain(t *testing.T) (service, client *gomicro.Peer, p *proxy) {
	t.Helper()
	service = gomicro.ServeGRPC(t, gomicro.PlainGRPC, "greeter")
	p = start(t, &mesh{services: map[string]string{"greeter": service.Address}})
	return service, gomicro.ClientGRPC(t, gomicro.PlainGRPC, p.address()), p
}

func grpcOrder(kind string) gomicro.Order {
	return gomicro.Order{Kind: kind, Services: []string{"greeter"}}
}

func TestPlainClientsOfGRPCCallStreamAndGetTrailers(t *testing.T) {
	_, c, _ := plain(t)
	for kind, request := range map[string]gomicro.Request{
		"unary":         {Name: "one", Size: 100},
		"trailers":      {},
		"bidi":          {Messages: 500, Size: 1000},
		"cancel":        {Messages: 1},
		"server-stream": {Messages: 200, Size: 100_000}, // more than any window
		"client-stream": {Messages: 200, Size: 100_000},
	} {
		o := grpcOrder(kind)
		o.Calls, o.Parallel, o.Request = 3, 4, request
		if got := c.Do(o); got.OK != 12 {
			t.Errorf("%s: %+v", kind, got)
		}
	}
	o := grpcOrder("fail")
	o.Request.Name = "ä"
	if got := c.Do(o); got.First.Code != 9 || got.First.Detail != "100 % no hello for ä-0-0" {
		t.Errorf("the service's own error: %+v", got)
	}
}

func TestManyCallsOfGRPCShareAConnectionOrTwo(t *testing.T) {
	service := gomicro.ServeGRPC(t, gomicro.PlainGRPC, "greeter")
	m := &mesh{services: map[string]string{"greeter": service.Address}}
	p := start(t, m)
	c := gomicro.ClientGRPC(t, gomicro.PlainGRPC, p.address())
	o := grpcOrder("unary")
	o.Calls, o.Parallel = 20, 200 // the client's connection has 250 at most
	if got := c.Do(o); got.OK != 4000 {
		t.Errorf("%+v", got)
	}
	if n := m.dials(); n > 8 {
		t.Errorf("%d connections to a service that takes any number of calls on each", n)
	}
}

func TestACallOfGRPCEndsWithItsTime(t *testing.T) {
	_, c, _ := plain(t)
	o := grpcOrder("unary")
	o.TimeoutMS, o.Request.SleepMS = 200, 60_000
	if got := c.Do(o); got.First.Code != grpcDeadlineExceeded || got.TookMS > 5000 {
		t.Errorf("%+v", got)
	}
}

// A service of gRPC cancels a call whose time is over, and may be the first to notice.
func TestACallOfGRPCThatItsServiceEndsForItsTimeIsOutOfTime(t *testing.T) {
	const limit = 100 * time.Millisecond
	service := listenertest.NewServer(t, func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
		framer := http2.NewFramer(c, c)
		_ = framer.WriteSettings()
		for {
			switch frame, err := framer.ReadFrame(); f := frame.(type) {
			case *http2.SettingsFrame:
				if !f.IsAck() {
					_ = framer.WriteSettingsAck()
				}
			case *http2.HeadersFrame:
				<-time.After(limit)
				_ = framer.WriteRSTStream(f.StreamID, http2.ErrCodeCancel)
			default:
				if err != nil {
					return
				}
			}
		}
	})
	p := start(t, &mesh{services: map[string]string{"greeter": service.Addr()}})
	c := p.grpcClient(t)
	for timeout, want := range map[string]int{"100m": grpcDeadlineExceeded, "1H": grpcCancelled} {
		if head, _, _ := p.call(t, c, "/greeter.Greeter/Hello", "", "Grpc-Timeout: "+timeout); head.Get("Grpc-Status") != strconv.Itoa(want) {
			t.Errorf("with %s: %v, want status %d", timeout, head, want)
		}
	}
}

func TestAServiceThatGoesSaysSoToCallersOfGRPC(t *testing.T) {
	service, c, p := plain(t)
	done := make(chan gomicro.Outcome, 1)
	slow := gomicro.ClientGRPC(t, gomicro.PlainGRPC, p.address())
	begin := func(sleepMS int) {
		o := grpcOrder("unary")
		o.Request.SleepMS, o.Request.Journal = sleepMS, filepath.Join(t.TempDir(), "journal")
		go func() { done <- slow.Do(o) }()
		listenertest.Eventually(t, "the call has arrived", func() bool {
			_, err := os.Stat(o.Request.Journal)
			return err == nil
		})
	}
	if got := c.Do(grpcOrder("unary")); got.OK != 1 {
		t.Fatalf("%+v", got)
	}
	begin(700)
	service.End() // says GOAWAY, and finishes what is under way
	if got := <-done; got.OK != 1 {
		t.Errorf("a call under way: %+v", got)
	}
	listenertest.Eventually(t, "the service has gone", func() bool { return c.Do(grpcOrder("unary")).First.Code == grpcUnavailable })

	other := gomicro.ServeGRPC(t, gomicro.PlainGRPC, "greeter")
	p.mesh.serve("greeter", other.Address)
	listenertest.Eventually(t, "another instance serves", func() bool { return c.Do(grpcOrder("unary")).OK == 1 })

	begin(60_000)
	other.Kill()
	if got := <-done; got.First.Code != grpcUnavailable {
		t.Errorf("an instance that was killed: %+v", got)
	}
}
