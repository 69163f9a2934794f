package admin

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"connect-proxy/connectproxy/agenttest/chromium"
	"connect-proxy/listener/listenertest"
)

func TestWhatChangesSomethingIsDoneForThisMachineAlone(t *testing.T) {
	const page = "http://127.0.0.1:19000"
	for _, tc := range []struct {
		name    string
		address string
		method  string
		host    string
		header  map[string]string
		code    int
	}{
		{"a program on this machine", "127.0.0.1:0", "POST", "127.0.0.1:19000", nil, 200},
		{"a page of this server", "127.0.0.1:0", "POST", "127.0.0.1:19000", map[string]string{"Origin": page, "Sec-Fetch-Site": "same-origin"}, 200},
		{"a page of another origin", "127.0.0.1:0", "POST", "127.0.0.1:19000", map[string]string{"Origin": "https://evil.example"}, 403},
		{"a page of another origin, in a new browser", "127.0.0.1:0", "POST", "127.0.0.1:19000", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"a page of another port", "127.0.0.1:0", "POST", "127.0.0.1:19000", map[string]string{"Origin": "http://127.0.0.1:8080"}, 403},
		{"a page that asks by GET", "127.0.0.1:0", "GET", "127.0.0.1:19000", nil, 405},
		{"another method", "127.0.0.1:0", "PUT", "127.0.0.1:19000", nil, 405},
		{"a unix socket", "unix:/run/p.sock", "POST", "anything", nil, 200},
		{"another machine", "0.0.0.0:0", "POST", "192.0.2.7:19000", nil, 403},
		{"another machine by the name of this one", "0.0.0.0:0", "POST", "127.0.0.1:19000", nil, 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			changed := false
			s := serverOf(t, tc.address, Pages{"POST /drain": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { changed = true })})
			r := httptest.NewRequest(tc.method, "/drain", nil)
			r.Host = tc.host
			for k, v := range tc.header {
				r.Header.Set(k, v)
			}
			w := httptest.NewRecorder()
			s.handler.ServeHTTP(w, r)
			if w.Code != tc.code || changed != (tc.code == 200) {
				t.Errorf("status %d, changed %t, want %d: %s", w.Code, changed, tc.code, w.Body)
			}
		})
	}
}

// A name that somebody else made lead to 127.0.0.1 would let a page of that name
// read what is served.
func TestALoopbackAddressAnswersUnderTheNamesOfThisMachineAlone(t *testing.T) {
	local := map[string]bool{
		"127.0.0.1:19000": true, "127.0.0.1": true, "localhost:19000": true, "LOCALHOST": true, "[::1]:19000": true, "[::1]": true, "": true,
		"evil.example": false, "evil.example:19000": false, "localhost.evil.example": false, "192.0.2.7": false, "0.0.0.0:19000": false,
	}
	for address, hosts := range map[string]map[string]bool{
		"127.0.0.1:0":      local,
		"localhost:0":      local,
		"unix:/run/p.sock": {"proxy": true, "evil.example": true, "": true},
		"0.0.0.0:0":        {"192.0.2.7:19000": true, "proxy.example": true},
		"proxy.example:0":  {"192.0.2.7:19000": true, "proxy.example": true},
	} {
		s := serverOf(t, address, Readiness(func() Report { return Report{Ready: true} }))
		for host, want := range hosts {
			r := httptest.NewRequest(http.MethodGet, "/ready", nil)
			r.Host = host
			w := httptest.NewRecorder()
			s.handler.ServeHTTP(w, r)
			if (w.Code == http.StatusOK) != want {
				t.Errorf("%s asked as %q: status %d", address, host, w.Code)
			}
		}
	}
}

// Prometheus asks by whatever name its configuration has; a browser asks by the
// name that a page has.
func TestAServerThatOtherMachinesReachAnswersProgramsByAnyName(t *testing.T) {
	browser, program := "Mozilla/5.0 (X11; Linux x86_64)", "Prometheus/3.1.0"
	for _, tc := range []struct {
		address, host, agent string
		code                 int
	}{
		{"0.0.0.0:9102", "host7.example:9102", program, 200},
		{"0.0.0.0:9102", "192.0.2.7:9102", program, 200},
		{"0.0.0.0:9102", "192.0.2.7:9102", browser, 200},
		{"0.0.0.0:9102", "evil.example:9102", browser, 403},
		{"192.0.2.7:9102", "evil.example:9102", browser, 403},
		{"host7.example:9102", "host7.example:9102", browser, 200},
		{"host7.example:9102", "evil.example:9102", browser, 403},
	} {
		s := serverOf(t, tc.address, Pages{"GET /metrics": http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})})
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Host = tc.host
		r.Header.Set("User-Agent", tc.agent)
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		if w.Code != tc.code {
			t.Errorf("%+v: status %d: %s", tc, w.Code, w.Body)
		}
	}
}

func TestAPageWhoseNameIsLedHereReadsNothing(t *testing.T) {
	page := chromium.Start(t, "--host-resolver-rules=MAP evil.example 127.0.0.1")
	const secret = "who_calls_whom"
	s := run(t, Options{Name: "metrics", Address: "0.0.0.0:0", AllowRemote: true, Pages: Pages{
		"GET /metrics": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, secret) }),
	}})
	listenertest.Eventually(t, "it listens", func() bool { return s.Addr() != nil })
	port := s.Addr().(*net.TCPAddr).Port
	for _, tc := range []struct {
		host  string
		shown bool
	}{{"127.0.0.1", true}, {"evil.example", false}} {
		page.Open(fmt.Sprintf("http://%s:%d/metrics", tc.host, port), 800, false)
		page.Until(`document.body !== null && document.readyState === "complete"`)
		if text := page.Text("body"); strings.Contains(text, secret) != tc.shown {
			t.Errorf("under %s a page is shown %q", tc.host, text)
		}
		var answer struct{ Result struct{ Value string } }
		page.Do("Runtime.evaluate", map[string]any{
			"expression":   `fetch("/metrics", {headers: {"Accept-Language": ""}, referrerPolicy: "no-referrer"}).then(r => r.text())`,
			"awaitPromise": true,
		}, &answer)
		if strings.Contains(answer.Result.Value, secret) != tc.shown {
			t.Errorf("a page under %s reads %q", tc.host, answer.Result.Value)
		}
	}
}

func TestASocketIsForTheProxysUserAlone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("permission bits mean nothing on windows")
	}
	path := filepath.Join(t.TempDir(), "admin.sock")
	s := run(t, Options{Name: "admin", Address: "unix:" + path})
	listenertest.Eventually(t, "it listens", func() bool { return s.Addr() != nil })
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestAPageWithoutAMethodIsRefused(t *testing.T) {
	for _, pattern := range []string{"/metrics", "PUT /drain", "GET metrics", "GET"} {
		_, err := New(Options{Name: "admin", Address: "127.0.0.1:0", Pages: Pages{pattern: http.NotFoundHandler()}})
		if err == nil || !strings.Contains(err.Error(), pattern) {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}

func TestAPageWhoseNameIsLedHereLaterReadsAndChangesNothing(t *testing.T) {
	page := chromium.Start(t, chromium.MovedFlag)
	for address, remote := range map[string]bool{"127.0.0.1:0": false, "0.0.0.0:0": true} {
		answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "who calls whom") })
		s := run(t, Options{Name: "admin", Address: address, AllowRemote: remote, Pages: Pages{"GET /metrics": answer, "POST /drain": answer}})
		listenertest.Eventually(t, "it listens", func() bool { return s.Addr() != nil })
		for _, got := range page.Moved(fmt.Sprintf("127.0.0.1:%d", s.Addr().(*net.TCPAddr).Port), "/metrics", "/drain", "/ready") {
			if !strings.HasPrefix(got, "403 ") {
				t.Errorf("%s: a page gets %q", address, got)
			}
		}
	}
}
