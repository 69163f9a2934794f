package relay

import (
	"fmt"
	"io"
	"testing"

	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/secure"
)

// counts waits until c says so, for ten seconds at most.
func counts(t *testing.T, c *Counters, up, down int64) {
	t.Helper()
	listenertest.Eventually(t, fmt.Sprintf("%d and %d bytes are counted", up, down), func() bool {
		return c.ToUpstream() == up && c.ToClient() == down
	})
}

func TestBytesAreCountedWhileTheConnectionIsOpen(t *testing.T) {
	for name, s := range shapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := new(Counters)
			connect(t, s, Options{Counters: c}, func(t *testing.T, m *mesh) {
				for n := int64(1); n <= 3; n++ {
					_, err := m.client.Write(random(3000))
					must(t, err)
					_, err = io.ReadFull(m.server, make([]byte, 3000))
					must(t, err)
					counts(t, c, 3000*n, 20*(n-1))
					_, err = m.server.Write(random(20))
					must(t, err)
					_, err = io.ReadFull(m.client, make([]byte, 20))
					must(t, err)
					counts(t, c, 3000*n, 20*n)
				}
				must(t, m.client.CloseWrite())
				must(t, m.server.CloseWrite())
				if r := m.wait(t); r.ToUpstream != c.ToUpstream() || r.ToClient != c.ToClient() {
					t.Errorf("%d and %d are counted of %+v", c.ToUpstream(), c.ToClient(), r)
				}
			})
		})
	}
}

func TestWhatASecondInstanceIsSentOnceMoreIsCountedOnce(t *testing.T) {
	eachWay(t, func(t *testing.T, r *refusal) {
		r.counters = new(Counters)
		_, err := r.app.Write(random(900))
		must(t, err)
		theirs := r.begin(r.client, nil, 1000)
		d, ok := theirs.Detach()
		if !ok {
			t.Fatal("not detached")
		}
		_, err = io.ReadFull(d.Raw, make([]byte, 900+secure.Overhead))
		must(t, err)
		counts(t, r.counters, 0, 0)
		_, err = d.Raw.Write(d.Records.Alert(nil, 112))
		must(t, err)
		res := r.result(t)
		if res.End != Refused {
			t.Fatalf("%+v", res)
		}
		counts(t, r.counters, 0, 0)
		theirs = r.begin(res.Undelivered.Client, res.Undelivered.Sent, 1000)
		_, err = theirs.Write(random(7))
		must(t, err)
		counts(t, r.counters, 900, 7)
		must(t, theirs.CloseWrite())
		must(t, r.app.CloseWrite())
		_, err = io.ReadAll(theirs)
		must(t, err)
		if res = r.result(t); res.End != Clean {
			t.Fatalf("%+v", res)
		}
		counts(t, r.counters, 900, 7)
	})
}
