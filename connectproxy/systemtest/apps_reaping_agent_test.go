package systemtest_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
)

// TestConnectionsEndWhenTheirTimeIsUpAndNotBefore shows, on either proxy's
// settings, that what is half open and silent is reaped, that what is idle or
// old is where that is asked for, and that nothing else ever is.
func TestConnectionsEndWhenTheirTimeIsUpAndNotBefore(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	stage := newStage(t)
	port := agenttest.FreePorts(t, 10)
	const limit = 2 * time.Second
	with := func(name string, port int, key string) api.Upstream {
		u := up(name, port)
		if key != "" {
			u.Config = map[string]any{key: limit.String()}
		}
		return u
	}
	web := sidecar{name: "web", app: 1, port: port}
	var proxies []*profiled
	addresses := map[string]string{}
	for i, key := range []string{"half_close_timeout", "idle_timeout", "max_lifetime"} {
		own := sidecar{name: "own-" + key[:4], app: portOf(stage.Server), port: port + 1 + i, config: map[string]any{key: limit.String()}}
		proxies = append(proxies, own.startProfiled(t, a))
		addresses["the application's proxy, "+key] = at(port + 4 + i)
		web.upstreams = append(web.upstreams, up(own.name, port+4+i))
	}
	// One without any, reached by upstreams with one each, and with none.
	plain := sidecar{name: "plain", app: portOf(stage.Server), port: port + 7}
	proxies = append(proxies, plain.startProfiled(t, a))
	more := agenttest.FreePorts(t, 4)
	// An agent takes two upstreams of one name for a mistake.
	names := []string{"plain", "Plain", "PLAIN", "plaiN"}
	for i, key := range []string{"half_close_timeout", "idle_timeout", "max_lifetime", ""} {
		addresses["the client's proxy, "+key] = at(more + i)
		web.upstreams = append(web.upstreams, with(names[i], more+i, key))
	}
	client := web.startProfiled(t, a)
	proxies = append(proxies, client)
	for _, u := range web.upstreams {
		agenttest.Eventually(t, soon, func() error { return knows(client.proxyProcess, u.DestinationName) })
	}
	via := func(address string) *fabric {
		return &fabric{stage: stage, address: map[string]string{"stage": address}}
	}
	for _, address := range addresses { // fills what is kept
		c, over := via(address).scene(t, func(*net.TCPConn) error { return nil })
		_, _ = drink(c)
		ends(t, over, nil)
		c.Close()
	}
	bases := make([]use, len(proxies))
	for i, p := range proxies {
		bases[i] = p.settled()
	}
	untouched, rest := via(addresses["the client's proxy, "]).scene(t, idles)
	_ = untouched.SetDeadline(time.Time{})

	t.Run("all at once", func(t *testing.T) {
		for what, address := range addresses {
			m := via(address)
			switch key := what[len(what)-4:]; {
			case key == "eout" && what[len(what)-12:] == "lose_timeout":
				t.Run(what+", after the client's end", func(t *testing.T) { t.Parallel(); reapedAfterClient(t, m, limit) })
				t.Run(what+", after the application's end", func(t *testing.T) { t.Parallel(); reapedAfterApplication(t, m, limit) })
				t.Run(what+", while bytes flow", func(t *testing.T) { t.Parallel(); notCutWhileBytesFlow(t, m, limit) })
			case key != "xy, ":
				t.Run(what, func(t *testing.T) { t.Parallel(); cutAfter(t, m, limit) })
			}
		}
	})
	if _, err := untouched.Write([]byte{1}); err != nil {
		t.Error(err)
	}
	_ = untouched.CloseWrite()
	ends(t, rest, nil) // it was idle all the while
	untouched.Close()
	for i, p := range proxies {
		p.returns(bases[i])
	}
}

// idles waits for one byte and the end.
func idles(app *net.TCPConn) error {
	_ = app.SetDeadline(time.Time{}) // other tests may take their turn meanwhile
	got, err := drink(app)
	if err == nil && got.n != 1 {
		err = fmt.Errorf("%d bytes came", got.n)
	}
	return err
}

var errCut = errors.New("the application's connection was cut")

// cut waits until the proxy has cut the application's connection of which the
// client's direction has ended: only writing shows that.
func cut(app *net.TCPConn) error {
	for {
		if _, err := app.Write([]byte{0}); errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		} else if err != nil {
			return errCut
		}
		pause(10 * time.Millisecond)
	}
}

func reapedAfterClient(t *testing.T, m *fabric, limit time.Duration) {
	ended := make(chan struct{})
	c, over := m.scene(t, func(app *net.TCPConn) error {
		if _, err := drink(app); err != nil {
			return err
		}
		<-ended
		return cut(app)
	})
	begin := time.Now()
	_ = c.CloseWrite()
	got, err := drink(c)
	took := time.Since(begin)
	close(ended)
	if err == nil || got.n > 0 {
		t.Errorf("it looks complete after %d bytes", got.n)
	}
	inTime(t, took, limit)
	ends(t, over, errCut)
}

func reapedAfterApplication(t *testing.T, m *fabric, limit time.Duration) {
	var took time.Duration
	c, over := m.scene(t, func(app *net.TCPConn) error {
		begin := time.Now()
		_ = app.CloseWrite()
		if _, err := drink(app); err == nil {
			return errors.New("the request looks complete")
		}
		took = time.Since(begin)
		return nil
	})
	if _, err := drink(c); err != nil {
		t.Error(err)
	}
	ends(t, over, nil)
	inTime(t, took, limit)
	// The client's side is closed as well.
	agenttest.Eventually(t, soon, func() error {
		if _, err := c.Write([]byte{0}); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return errors.New("the client's side is open")
		}
		return nil
	})
}

func notCutWhileBytesFlow(t *testing.T, m *fabric, limit time.Duration) {
	const step = 400 * time.Millisecond
	n := int(3 * limit / step)
	c, over := m.scene(t, func(app *net.TCPConn) error {
		if _, err := drink(app); err != nil {
			return err
		}
		for range n {
			pause(step)
			if _, err := app.Write([]byte{7}); err != nil {
				return err
			}
		}
		return nil
	})
	_ = c.CloseWrite()
	if got, err := drink(c); err != nil || got.n != int64(n) {
		t.Errorf("%d bytes came of %d: %v", got.n, n, err)
	}
	ends(t, over, nil)
}

func cutAfter(t *testing.T, m *fabric, limit time.Duration) {
	begin := time.Now()
	c, over := m.scene(t, func(app *net.TCPConn) error {
		if _, err := drink(app); err == nil {
			return errors.New("the request looks complete")
		}
		return errCut
	})
	if _, err := drink(c); err == nil {
		t.Error("the answer looks complete")
	}
	inTime(t, time.Since(begin), limit)
	ends(t, over, errCut)
}

// inTime allows for what a busy machine adds.
func inTime(t *testing.T, took, limit time.Duration) {
	t.Helper()
	if took < limit-50*time.Millisecond || took > limit+5*time.Second {
		t.Errorf("it took %s, the limit is %s", took, limit)
	}
}
