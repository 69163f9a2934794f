package byname_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

// unreadRequests are requests with what a service has to read after their header.
var unreadRequests = map[string]string{
	"a body":           "POST http://web/ HTTP/1.1\r\nHost: web\r\nContent-Length: 100000000\r\n\r\n",
	"another protocol": "GET http://web/ HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n",
}

// sendUnread sends a request and as much after it as is taken.
func (p *proxy) sendUnread(t *testing.T, request string) *net.TCPConn {
	t.Helper()
	c := p.dial(t)
	listenertest.WriteUnread(t, c, request)
	return c
}

func TestAClientThatIsEndedIsServedNoMoreEvenIfItsServiceReadsNothing(t *testing.T) {
	t.Parallel()
	for what, request := range unreadRequests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := start(t, allowing("web"), &mesh{services: map[string]string{"web": listenertest.NewUnreading(t).Addr()}})
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
				t.Errorf("%d clients are served still", p.Live())
			}
		})
	}
}

func TestWhatIsLeftOfABodyIsNoRequest(t *testing.T) {
	t.Parallel()
	var smuggled, reached atomic.Int64
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/smuggled" {
			smuggled.Add(1)
		}
		reached.Add(1)
		if r.URL.Path == "/read" {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		_, _ = io.WriteString(w, "early") // and what is left of the body is not read
	}))
	t.Cleanup(app.Close)
	m := &mesh{
		services: map[string]string{"web": app.Listener.Addr().String()},
		reasons:  map[string]listener.Reason{"down": listener.ReasonDialFailed},
	}
	p := start(t, allowing("web", "down"), m)
	const next = "GET http://web/smuggled HTTP/1.1\r\nHost: web\r\n\r\n"
	for _, where := range []string{"web", "down", "denied"} {
		for what, sent := range map[string]string{
			"a chunk that is none": "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\nZZ\r\n" + next,
			"a long body":          "Content-Length: 8000000\r\n\r\n" + strings.Repeat("\r\n", 1<<20) + strings.Repeat(next, 50_000),
			"100-continue":         "Expect: 100-continue\r\nContent-Length: 8000000\r\n\r\n" + strings.Repeat(next, 50_000),
		} {
			c := p.dial(t)
			go func() {
				_, _ = io.WriteString(c, "POST http://"+where+"/a HTTP/1.1\r\nHost: "+where+"\r\n"+sent)
			}()
			got, err := io.ReadAll(c)
			if n := strings.Count(string(got), "HTTP/1.1 "); n > 1 || n == 1 && !strings.Contains(string(got), "Connection: close\r\n") || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s, %s: %d answers, %v: %.500q", where, what, n, err, got)
			}
		}
	}
	// Whose body was read has the connection for its next request.
	c := p.dial(t)
	in := bufio.NewReader(c)
	for range 2 {
		_, _ = io.WriteString(c, "POST http://web/read HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\n\r\nabc")
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(r.Body); string(b) != "early" {
			t.Errorf("%q", b)
		}
		_ = r.Body.Close()
	}
	if smuggled.Load() != 0 || reached.Load() == 0 {
		t.Errorf("%d bodies were requests, %d requests", smuggled.Load(), reached.Load())
	}
}

func TestABodyThatCannotBeReadIsNotBlamedOnTheService(t *testing.T) {
	t.Parallel()
	p := start(t, allowing("web"), &mesh{services: map[string]string{"web": listenertest.NewUnreading(t).Addr()}})
	c := p.dial(t)
	r, body := exchange(t, c, bufio.NewReader(c), "POST http://web/ HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZZ\r\n")
	if r.StatusCode != http.StatusBadRequest || !strings.Contains(body, "reading the body of the request") {
		t.Errorf("%s %s", r.Status, body)
	}
}
