package cli

import (
	"bufio"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"connect-proxy/listener/listenertest"
)

// lines hands lines over.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

func TestWhatAServiceSaysUnaskedIsNotInTheLog(t *testing.T) {
	logged := make(lines, 8)
	former := log.Writer()
	log.SetOutput(httpLog{logged}) //nolint:forbidigo // net/http's client has no other way
	defer log.SetOutput(former)    //nolint:forbidigo // likewise
	read := make(chan struct{})
	service := listenertest.NewServer(t, func(c *net.TCPConn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			<-read // the client has the answer, and keeps the connection for later
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
		}
	})
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	r, err := client.Get("http://" + service.Addr())
	if err != nil {
		close(read)
		t.Fatal(err)
	}
	_, _ = io.ReadAll(r.Body)
	_ = r.Body.Close()
	close(read)
	select {
	case line := <-logged:
		if strings.Contains(line, "secret") || strings.Contains(line, "200 OK") || !strings.HasSuffix(line, string(unasked)+"\n") {
			t.Errorf("logged: %q", line)
		}
	case <-time.After(20 * time.Second):
		t.Error("nothing is logged: net/http has another way")
	}
}
