package requestbody

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"testing"
)

func TestABodyThatIsOnItsWayToAServiceIsNotDiscarded(t *testing.T) {
	near, far := net.Pipe()
	defer func() { _, _ = near.Close(), far.Close() }()
	read := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w, r, body := Follow(w, r, Bounds{})
		defer body.End()
		httptrace.ContextClientTrace(body.SentOn(r).Context()).GotConn(httptrace.GotConnInfo{Conn: NewConn(near)})
		w.WriteHeader(http.StatusOK) // the service has answered at once
		got, err := io.ReadAll(r.Body)
		if err != nil {
			got = []byte(err.Error())
		}
		read <- string(got)
	}))
	defer server.Close()
	r, err := server.Client().Post(server.URL, "text/plain", strings.NewReader("abc"))
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	if got := <-read; got != "abc" {
		t.Errorf("of the body there is %q", got)
	}
}

// The server may have begun to watch the connection for its next request when the body
// was stopped at its end.
func TestAConnectionEndsAfterABodyThatWasStoppedAtItsEnd(t *testing.T) {
	for _, c := range []struct {
		body   *Body
		unread bool
	}{
		{&Body{}, true}, {&Body{ended: true}, false}, {&Body{ended: true, stopped: true}, true}, {&Body{stopped: true}, true}, {&Body{none: true}, false},
	} {
		if got := c.body.unread(); got != c.unread {
			t.Errorf("none %t, ended %t, stopped %t: unread %t", c.body.none, c.body.ended, c.body.stopped, got)
		}
	}
}
