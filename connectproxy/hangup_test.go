package connectproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/dynamic"
	"connect-proxy/listener"
)

func TestADialThatItsCallerGivesUpIsNoFailureOfTheInstance(t *testing.T) {
	for name, dial := range map[string]func(ctx context.Context, e *engine) error{
		"by a program": func(ctx context.Context, e *engine) error {
			_, err := e.Dial(ctx, "api")
			return err
		},
		"by a front end": func(ctx context.Context, e *engine) error {
			_, err := e.dynamic.dial(ctx, dynamic.Call{To: config.Destination{Type: config.Service, Name: "api"}})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			agent := fakeagent.New(t, fakeagent.Options{})
			port := agenttest.FreePorts(t, 2)
			silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = silent.Close() })
			agent.Instance("api", silent.Addr().(*net.TCPAddr).Port)
			settings := byNameAt("web", port, "api")
			settings.DynamicUpstreams = &config.Upstream{ConnectTimeout: 5 * time.Minute}
			settings.Upstreams = []config.Upstream{{Destination: config.Destination{Name: "api"}, Bind: tcp("127.0.0.1", port+1), ConnectTimeout: 5 * time.Minute}}
			e := startEngine(t, agent, settings).ready()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() {
				err := dial(ctx, e)
				for ctx.Err() == nil { // an agent that has much else to do may be too late
					err = dial(ctx, e)
				}
				ended <- err
			}()
			_ = silent.(*net.TCPListener).SetDeadline(time.Now().Add(soon))
			dialled, err := silent.Accept()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = dialled.Close() })
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			agenttest.Eventually(t, soon, func() error {
				if n := e.count(listener.ReasonClientReset); n != 1 {
					return fmt.Errorf("%d connections ended by their client", n)
				}
				return nil
			})
			for _, u := range (adminSource{e.Proxy}).Upstreams() {
				if len(u.Failures) > 0 || len(u.Instances) > 0 && u.Instances[0].Error != "" {
					t.Errorf("the instance is blamed: %+v", u)
				}
			}
			if log := e.log.String(); strings.Contains(log, "dial_failed") || strings.Contains(log, "instance failed") || !strings.Contains(log, "given up by the caller") {
				t.Errorf("log:\n%s", log)
			}
		})
	}
}
