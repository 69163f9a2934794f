//go:build linux

package cli

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/listener/listenertest"
)

// said waits for an event with both texts.
func (l *logged) said(message, detail string) {
	l.t.Helper()
	agenttest.Eventually(l.t, soon, func() error {
		text, err := l.get("/events")
		if err == nil && (!strings.Contains(text, message) || !strings.Contains(text, detail)) {
			err = fmt.Errorf("no event %q with %q: %s", message, detail, text)
		}
		return err
	})
}

// fileLog are the settings of an access log in a file.
func fileLog(path string) string {
	return fmt.Sprintf("access_logs {\n  enabled = true\n  type = \"file\"\n  path = %q\n}", path)
}

func TestAnAccessLogThatCannotBeWrittenIsSaidAndNoticedByNobodyElse(t *testing.T) {
	pipe := func(t *testing.T) string {
		path := filepath.Join(t.TempDir(), "pipe")
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct {
		path func(*testing.T) string
		says string
		long bool // left out with -short, being much like another
	}{
		"a full disk":             {func(*testing.T) string { return "/dev/full" }, "/dev/full: no space left on device", false},
		"a directory":             {func(t *testing.T) string { return t.TempDir() }, "is a directory", true},
		"a directory that is not": {func(t *testing.T) string { return filepath.Join(t.TempDir(), "no", "log") }, "no such file or directory", true},
		"a pipe without a reader": {pipe, "nobody reads this pipe", false},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && c.long {
				t.Skip("not with -short")
			}
			t.Parallel()
			l := startLogged(t, `exec "$0" "$@" 2>/dev/null`, "", fileLog(c.path(t)))
			l.serve(5)
			l.said("access log cannot be written", c.says)
			if text, err := l.get("/health"); err != nil || !strings.Contains(text, c.says) {
				t.Errorf("/health does not say it: %v %s", err, text)
			}
			l.serve(5)
			l.Signal(syscall.SIGTERM)
			if code := l.Wait(anEnd); code != exitDrained {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

func TestAnAccessLogIsWrittenOnWhenItsReaderComesBack(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short")
	}
	path, r := reader(t)
	l := startLogged(t, `exec "$0" "$@" 2>/dev/null`, "", fileLog(path))
	l.serve(1)
	if n, err := read(r); err != nil || n == 0 {
		t.Fatalf("%d bytes are read of it, %v", n, err)
	}
	r.Close()
	l.serve(3)
	l.said("access log cannot be written", "")
	r, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	l.serve(1)
	l.said("access log can be written again", "")

	// One that stops reading costs records, and no connection.
	l.chatter()
	l.said("records of the access log were dropped", "total")
	if text, err := l.get("/metrics"); err != nil || !regexp.MustCompile(`(?m)^connect_proxy_access_log_dropped_total [1-9]`).MatchString(text) {
		t.Errorf("/metrics counts no records that were dropped: %v", err)
	}
	l.serve(2)
	l.Signal(syscall.SIGTERM)
	if code := l.Wait(anEnd); code != exitDrained {
		t.Errorf("exit code %d", code)
	}
}

// read waits for bytes in a pipe that does not block.
func read(r *os.File) (n int, err error) {
	if err := r.SetReadDeadline(time.Now().Add(soon)); err != nil {
		return 0, err
	}
	return r.Read(make([]byte, 4096))
}

func TestALogThatLosesLinesIsAnEvent(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short")
	}
	file, _ := reader(t)
	l := startLogged(t, `exec "$0" "$@" 2>"$LOG"`, file)
	l.chatter()
	l.said("log lines were dropped", "total")
}

// Whoever asks for pages and does not read them holds neither traffic nor the end.
func TestReadersThatAreSlowHoldNeitherTrafficNorTheEnd(t *testing.T) {
	l := startLogged(t, `exec "$0" "$@" 2>/dev/null`, "")
	for _, page := range []string{"/metrics", "/connections", "/events", "/health", "/debug/pprof/trace?seconds=60"} {
		for range 12 {
			c, err := net.Dial("tcp", l.admin)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", page)
		}
	}
	l.serve(10)
	l.Signal(syscall.SIGTERM)
	if code := l.Wait(anEnd); code != exitDrained {
		t.Errorf("exit code %d", code)
	}
}

func TestAScraperThatIsSlowIsAnEventAndHoldsNeitherTrafficNorTheEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short")
	}
	t.Parallel()
	for name, says := range map[string]string{"the admin address": `"/metrics"`, "envoy_prometheus_bind_addr": `"/metrics of envoy_prometheus_bind_addr"`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := fmt.Sprintf("127.0.0.1:%d", agenttest.FreePort(t))
			l := startLogged(t, `exec "$0" "$@" 2>/dev/null`, "", fmt.Sprintf("envoy_prometheus_bind_addr = %q", address))
			if name == "the admin address" {
				address = l.admin
			}
			for range 8 {
				c := listenertest.Dial(t, "tcp", address)
				_ = c.(*net.TCPConn).SetReadBuffer(1 << 12)
				// As many questions as no buffer between the two can take the answers of.
				_, _ = c.Write([]byte(strings.Repeat("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 1000)))
			}
			l.serve(10)
			l.said("admin page was not read in time", says)
			l.serve(2)
			l.Signal(syscall.SIGTERM)
			if code := l.Wait(anEnd); code != exitDrained {
				t.Errorf("exit code %d", code)
			}
		})
	}
}
