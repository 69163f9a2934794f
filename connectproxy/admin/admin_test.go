package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/listener/listenertest"
)

func TestReadyGivesItsReasonsWhileItIsNot(t *testing.T) {
	for _, tc := range []struct {
		name   string
		report Report
		code   int
		body   string
	}{
		{
			name:   "ready",
			report: Report{Ready: true},
			code:   http.StatusOK,
			body:   `{"ready": true, "reasons": []}`,
		},
		{
			name:   "a warning",
			report: Report{Ready: true, Warnings: []string{"edge: no certificate for a.test"}},
			code:   http.StatusOK,
			body:   `{"ready": true, "reasons": [], "warnings": ["edge: no certificate for a.test"]}`,
		},
		{
			name:   "two reasons",
			report: Report{Reasons: []string{"no leaf certificate yet", "listener db (127.0.0.1:8181): not bound yet"}},
			code:   http.StatusServiceUnavailable,
			body:   `{"ready": false, "reasons": ["no leaf certificate yet", "listener db (127.0.0.1:8181): not bound yet"]}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := handler(t, func() Report { return tc.report })
			w := httptest.NewRecorder()
			h.ServeHTTP(w, request(http.MethodGet, "/ready"))
			if w.Code != tc.code {
				t.Errorf("status %d, want %d", w.Code, tc.code)
			}
			if got := compact(t, w.Body.String()); got != compact(t, tc.body) {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestHealthTellsTheDetailsWhetherReadyOrNot(t *testing.T) {
	h := handler(t, func() Report { return Report{Details: map[string]int{"open": 3}} })
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request(http.MethodGet, "/health"))
	if w.Code != http.StatusOK || compact(t, w.Body.String()) != `{"open":3}` {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if ct := w.Header().Get("Content-Type"); ct != "application/json" {
		t.Errorf("content type %q", ct)
	}
}

func TestNothingButReadingIsServed(t *testing.T) {
	h := handler(t, func() Report { return Report{Ready: true} })
	for method, path := range map[string]string{
		http.MethodPost:   "/ready",
		http.MethodDelete: "/health",
		http.MethodGet:    "/debug/pprof/",
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request(method, path))
		if w.Code < 400 {
			t.Errorf("%s %s: %d", method, path, w.Code)
		}
	}
}

func TestAnAddressThatOtherMachinesReachIsRefused(t *testing.T) {
	for address, problem := range map[string]string{
		"127.0.0.1:19000":     "",
		"127.8.9.10:19000":    "",
		"[::1]:19000":         "",
		"localhost:19000":     "",
		"unix:/run/p.sock":    "",
		"unix:///run/p.sock":  "",
		":19000":              "not a loopback address",
		"0.0.0.0:19000":       "not a loopback address",
		"[::]:19000":          "not a loopback address",
		"192.0.2.7:19000":     "not a loopback address",
		"proxy.example:19000": "not a loopback address",
		"19000":               "neither host:port nor unix:/path",
		"unix:":               "without a path",
	} {
		_, err := New(Options{Name: "admin", Address: address, Pages: Profiles()})
		switch {
		case problem == "" && err != nil:
			t.Errorf("%s: %v", address, err)
		case problem != "" && (err == nil || !strings.Contains(err.Error(), problem) || !strings.Contains(err.Error(), address)):
			t.Errorf("%s: got %v, want %q", address, err, problem)
		}
	}
	if _, err := New(Options{Name: "pprof", Address: ":6060", Pages: Profiles(), AllowRemote: true}); err != nil {
		t.Errorf("remote allowed: %v", err)
	}
}

func TestATakenPortIsSaidOnceAndServedWhenItIsFree(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var log bytes.Buffer
	logger := hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Warn})
	s := run(t, Options{Name: "admin", Address: taken.Addr().String(), Logger: logger})
	listenertest.Eventually(t, "there is a problem", func() bool { return s.Problem() != "" })
	if s.Addr() != nil {
		t.Error("an address although the port is taken")
	}
	taken.Close()
	listenertest.Eventually(t, "it listens", func() bool { return s.Addr() != nil })
	if s.Problem() != "" {
		t.Errorf("a problem although it listens: %s", s.Problem())
	}
	if code := get(t, "tcp", s.Addr().String()); code != http.StatusOK {
		t.Errorf("status %d", code)
	}
	if n := strings.Count(log.String(), "cannot listen"); n != 1 {
		t.Errorf("said %d times: %s", n, &log)
	}
}

func TestASocketLeftByADeadProcessIsReplacedAndALiveOneIsNot(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a killed process leaves no socket file behind on windows")
	}
	path := filepath.Join(t.TempDir(), "admin.sock")
	old, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	old.(*net.UnixListener).SetUnlinkOnClose(false)

	s := run(t, Options{Name: "admin", Address: "unix:" + path})
	listenertest.Eventually(t, "there is a problem", func() bool { return s.Problem() != "" })
	old.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal("the stale file is not there")
	}
	listenertest.Eventually(t, "it listens", func() bool { return s.Addr() != nil })
	if code := get(t, "unix", path); code != http.StatusOK {
		t.Errorf("status %d", code)
	}
}

func TestAFileThatIsNoSocketIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := run(t, Options{Name: "admin", Address: "unix:" + path})
	listenertest.Eventually(t, "there is a problem", func() bool { return s.Problem() != "" })
	if text, err := os.ReadFile(path); err != nil || string(text) != "data" {
		t.Errorf("the file is %q, %v", text, err)
	}
}

func TestProfilesKeepTheCommandLineToThemselves(t *testing.T) {
	for path, code := range map[string]int{
		"/debug/pprof/":          http.StatusOK,
		"/debug/pprof/goroutine": http.StatusOK,
		"/debug/pprof/cmdline":   http.StatusNotFound,
	} {
		w := httptest.NewRecorder()
		serverOf(t, "127.0.0.1:0", Profiles()).handler.ServeHTTP(w, request(http.MethodGet, path))
		if w.Code != code {
			t.Errorf("%s: %d, want %d", path, w.Code, code)
		}
	}
}

func serverOf(t *testing.T, address string, p Pages) *Server {
	t.Helper()
	s, err := New(Options{Name: "admin", Address: address, Pages: p, AllowRemote: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func handler(t *testing.T, report func() Report) http.Handler {
	t.Helper()
	return serverOf(t, "127.0.0.1:0", Readiness(report)).handler
}

func request(method, path string) *http.Request {
	r := httptest.NewRequest(method, path, nil)
	r.Host = "127.0.0.1:19000"
	return r
}

// run serves until the test ends and waits for it.
func run(t *testing.T, o Options) *Server {
	t.Helper()
	if o.Pages == nil {
		o.Pages = Readiness(func() Report { return Report{Ready: true} })
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	listenertest.Run(t, s.Run)
	return s
}

func get(t *testing.T, network, address string) int {
	t.Helper()
	tr := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, address)
		},
	}
	resp, err := (&http.Client{Transport: tr}).Get("http://localhost/ready")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func compact(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(s)); err != nil {
		t.Fatalf("%v: %s", err, s)
	}
	return b.String()
}
