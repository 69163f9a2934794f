package adminapi

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// many is a proxy with n connections.
func many(n int) *fakeProxy {
	f := busyProxy()
	c := f.connections[0]
	f.connections = nil
	for i := range n {
		c.ID = uint64(i + 1)
		c.Source = fmt.Sprint("web-", i%300)
		f.connections = append(f.connections, c)
	}
	return f
}

func TestTenThousandConnectionsAreListed(t *testing.T) {
	o := Options{Source: many(10_000)}
	start := time.Now()
	all := decode[Connections](t, o, "/connections")
	if all.Total != 10_000 || len(all.Connections) != 10_000 || len(all.Pairs) != maxPairs {
		t.Errorf("%d connections of %d, %d pairs", len(all.Connections), all.Total, len(all.Pairs))
	}
	t.Logf("listed and read in %s", time.Since(start))
	few := page(t, o, "GET", "/connections?limit=100")
	if few.Body.Len() > 128<<10 {
		t.Errorf("a hundred of them and %d pairs take %d bytes", maxPairs, few.Body.Len())
	}
}

// Clients that ask and do not read hold as many pages as are made at a time, no
// more, and only until their time is over.
func TestClientsThatDoNotReadHoldNobodyUpForLong(t *testing.T) {
	const clients = 6
	ended := make(chan struct{}, clients)
	places := make(chan struct{}, 2)
	var said atomic.Int32
	notRead := func(page, problem string) {
		if page != "/page" || problem == "" {
			t.Errorf("said of %q: %q", page, problem)
		}
		said.Add(1)
	}
	bounded := within(300*time.Millisecond, placed(places, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, err := io.Copy(w, io.LimitReader(zeros{}, 64<<20)); err == nil {
			t.Error("64 MB were written to a client that does not read")
		}
	}), notRead), notRead)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bounded.ServeHTTP(w, r)
		ended <- struct{}{}
	}))
	defer s.Close()
	for range clients {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}
	over := time.After(20 * time.Second)
	for n := range clients {
		select {
		case <-ended:
		case <-over:
			t.Fatalf("%d of %d have ended", n, clients)
		}
		if n := len(places); n > 2 {
			t.Errorf("%d at a time", n)
		}
	}
	if n := said.Load(); n < clients {
		t.Errorf("%d of %d were said", n, clients)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A client that announces a body and does not send it is not waited for.
func TestABodyThatDoesNotComeHoldsNothing(t *testing.T) {
	s := httptest.NewServer(within(200*time.Millisecond, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "done") }), func(string, string) {}))
	defer s.Close()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	text, err := io.ReadAll(bufio.NewReader(c)) // until the server closes
	if err != nil {
		t.Errorf("not closed: %v after %q", err, text)
	}
}

func TestPagesCanBeAskedForOneAfterTheOther(t *testing.T) {
	pages := Bounded(Pages(Options{Source: busyProxy()}), nil)
	address := serve(t, pages)
	for range 3 { // on one connection: a deadline of the first must not end the others
		resp, err := http.Get("http://" + address + "/proxy")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestWhoFindsNoPlaceIsToldSo(t *testing.T) {
	places := make(chan struct{}, 1)
	places <- struct{}{}
	w := httptest.NewRecorder()
	said := ""
	placed(places, http.NotFoundHandler(), func(page, problem string) { said = page + ": " + problem }).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusServiceUnavailable || !strings.HasPrefix(said, "/: ") {
		t.Errorf("status %d, said %q", w.Code, said)
	}
}
