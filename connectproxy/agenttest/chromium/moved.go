package chromium

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"connect-proxy/listener/listenertest"
)

// MovedName is the name of a site that leads elsewhere once a page of it is open (DNS
// rebinding). The browser gets MovedFlag.
const (
	MovedName = "moved.example"
	MovedFlag = "--host-resolver-rules=MAP " + MovedName + " 127.0.0.1"
)

// Moved opens a page of MovedName in the browser, has that name lead to address from
// then on, and asks for paths there in every way that a page has at its own site. It
// returns the answers, as the page reads them: the status, and the text behind it. The
// name moves by what is behind it, as it would by DNS, which a browser keeps for a
// minute.
func (b *Page) Moved(address string, paths ...string) []string {
	b.t.Helper()
	var moved atomic.Bool
	site := listenertest.NewServer(b.t, func(c *net.TCPConn) {
		// A browser may have connected before it asks.
		var sent bytes.Buffer
		_, err := http.ReadRequest(bufio.NewReader(io.TeeReader(c, &sent)))
		switch {
		case moved.Load():
			lead(b.t, c, address, &sent)
		case err == nil:
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html\r\n\r\n<!doctype html><body>here")
		}
	})
	defer site.Close()
	host := strings.Replace(site.Addr(), "127.0.0.1", MovedName, 1)
	b.Open("http://"+host+"/", 800, false)
	b.Until(fmt.Sprintf(`location.host === %q && document.body?.innerText === "here"`, host))
	moved.Store(true)
	list, err := json.Marshal(paths)
	if err != nil {
		b.t.Fatal(err)
	}
	var answers []string
	if err := json.Unmarshal([]byte(b.Eval(fmt.Sprintf(askEverything, list))), &answers); err != nil || len(answers) == 0 {
		b.t.Fatalf("the page got %d answers: %v", len(answers), err)
	}
	return answers
}

// lead has a connection be one to address, of which something was read.
func lead(t *testing.T, c *net.TCPConn, address string, sent io.Reader) {
	to, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(to, io.MultiReader(sent, c))
		_ = to.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(c, to)
	_ = c.Close()
	<-done
	_ = to.Close()
}

// askEverything has a page ask for each path of a list. Headers that a browser sends by
// itself can be altered at a page's own site, and more be added.
const askEverything = `(async (paths) => {
	const answers = [];
	const headers = [{}, {"Accept-Language": ""}, {"Accept-Language": "*", "User-Agent": "curl/8.5.0"},
		{"Micro-Service": "web", "Micro-Endpoint": "Web.Get", "Accept-Language": "", "User-Agent": ""}];
	for (const path of paths) {
		for (const method of ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"])
			for (const h of headers) {
				const body = method === "POST" ? "{}" : undefined;
				const answer = await fetch(path, {method, body, headers: h, cache: "no-store", referrerPolicy: "no-referrer"})
					.then(async r => r.status + " " + await r.text(), e => "none " + e);
				answers.push(answer);
			}
		await new Promise(done => {
			const socket = new WebSocket("ws://" + location.host + path);
			socket.onopen = () => { answers.push("200 a websocket"); socket.close(); done() };
			socket.onerror = () => done();
		});
		navigator.sendBeacon(path, "{}");
	}
	return answers;
})(%s)`
