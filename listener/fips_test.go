package listener_test

import (
	"context"
	"crypto/fips140"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/secure"
)

// The mode is the process's, and set before it starts: the test runs itself
// once for each, as a program of its own.
func TestInFIPSModeRecordsStayWithCryptoTLS(t *testing.T) {
	if fips140.Enabled() {
		relayedByCryptoTLS(t)
		return
	}
	for _, mode := range []string{"on", "only"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			c := exec.CommandContext(t.Context(), self, "-test.run=^TestInFIPSModeRecordsStayWithCryptoTLS$", "-test.v")
			c.Env = append(os.Environ(), "GODEBUG=fips140="+mode)
			out, err := c.CombinedOutput()
			if err != nil || !strings.Contains(string(out), byCryptoTLS) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

const byCryptoTLS = "both hops were relayed by crypto/tls"

// relayedByCryptoTLS sends through both sidecars of a mesh, which would have own
// records if they could.
func relayedByCryptoTLS(t *testing.T) {
	w, app := newWorld(t), listenertest.NewEcho(t)
	var hops atomic.Int32
	kept := func(c *secure.Conn) {
		hops.Add(1)
		if c.Detachable() {
			t.Error("a connection could be taken out of crypto/tls")
		}
	}
	o := w.public(app.Addr())
	shake := o.Handshake
	o.Handshake = func(ctx context.Context, raw net.Conn) (listener.Session, error) {
		s, err := shake(ctx, raw)
		if err == nil {
			kept(s.Conn.(*secure.Conn))
		}
		return s, err
	}
	public := start(t, o)
	client := &secure.Config{TLS: w.ca.ClientTLS(w.web), OwnRecords: true}
	dial := dialTo(public.Addr().String())
	upstream := start(t, listener.Options{Dial: func(ctx context.Context) (listener.Target, error) {
		target, err := dial(ctx)
		if err != nil {
			return target, err
		}
		c, err := client.Client(ctx, target.Conn)
		if err != nil {
			return target, err
		}
		kept(c)
		target.Conn = c
		return target, nil
	}})
	request := strings.Repeat("a record holds a part of this. ", 10_000)
	if got := exchange(t, upstream.dial(t), request); got != request {
		t.Errorf("an answer of %d bytes", len(got))
	}
	for _, l := range []*running{upstream, public} {
		if s := l.wait(t, 1)[0]; s.Reason != listener.ReasonClosed || s.ToUpstream != int64(len(request)) {
			t.Errorf("summary %+v", s)
		}
	}
	if hops.Load() == 2 {
		t.Log(byCryptoTLS)
	}
}
