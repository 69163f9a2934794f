package requestbody_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"connect-proxy/connectproxy/requestbody"
)

func TestNothingIsWrittenIntoTheLeaveToSendABody(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w, r, body := requestbody.Follow(w, r, requestbody.Bounds{})
		defer body.End()
		switch r.URL.Path {
		case "/before":
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.Copy(io.Discard, r.Body)
		case "/after":
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusEarlyHints)
		case "/of-the-service":
			w.WriteHeader(http.StatusContinue)
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.Copy(io.Discard, r.Body)
		}
	}))
	t.Cleanup(server.Close)
	for _, c := range []struct {
		request string
		want    []int
	}{
		{"POST /before HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", []int{100, 200}},
		{"POST /after HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", []int{100, 103, 200}},
		{"POST /of-the-service HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", []int{100, 103, 200}},
		{"POST /before HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", []int{103, 200}},
		{"GET /before HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n", []int{103, 200}},
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.WriteString(conn, c.request)
		in := bufio.NewReader(conn)
		var got []int
		for status := 0; status < http.StatusOK; {
			r, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatalf("%q: after %v: %v", c.request, got, err)
			}
			status = r.StatusCode
			got = append(got, status)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: %v, want %v", c.request, got, c.want)
		}
		_ = conn.Close()
	}
}
