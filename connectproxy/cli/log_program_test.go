//go:build linux

package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/listener/listenertest"
)

// logged is the program with something done to its streams, in front of an
// application that sends back what it gets.
type logged struct {
	*agenttest.Process
	t      *testing.T
	port   int
	admin  string
	client tls.Certificate
}

// places is how many connections it takes at a time.
const places = 2

// startLogged runs the program by a line of sh that says what its streams are,
// with LOG in its environment; "$0" "$@" is the program. Settings are lines of its
// configuration.
func startLogged(t *testing.T, line, log string, settings ...string) *logged {
	t.Helper()
	agent := fakeagent.New(t, fakeagent.Options{})
	ports := agenttest.FreePorts(t, 2)
	file := filepath.Join(t.TempDir(), "db.hcl")
	write(t, file, fmt.Sprintf(`service_name = "db"
public_listener {
  bind_address            = "127.0.0.1"
  bind_port               = %d
  local_service_address   = %q
  max_inbound_connections = %d
}
%s
`, ports, listenertest.NewEcho(t).Addr(), places, strings.Join(settings, "\n")))
	admin := fmt.Sprintf("127.0.0.1:%d", ports+1)
	p := agenttest.StartProcess(t, agenttest.ProcessOptions{
		Path: "/bin/sh",
		Args: []string{"-c", line, self(t), "-config-file", file, "-http-addr", agent.URL, "-admin-addr", admin, "-log-level", "debug"},
		Env:  []string{asProgram + "=1", "LOG=" + log},
	})
	l := &logged{Process: p, t: t, port: ports, admin: admin, client: agent.Certificate("web")}
	agenttest.Eventually(t, soon, func() error {
		_, err := l.get("/ready")
		return err
	})
	return l
}

// get asks the admin listener.
func (l *logged) get(path string) (string, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}
	ctx, cancel := context.WithCancel(l.t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.admin+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return string(text), err
}

// dropped is what /health says of the log.
func (l *logged) dropped() uint64 {
	l.t.Helper()
	text, err := l.get("/health")
	if err != nil {
		l.t.Fatal(err)
	}
	var report struct {
		LogLinesDropped *uint64 `json:"log_lines_dropped"`
	}
	if err := json.Unmarshal([]byte(text), &report); err != nil || report.LogLinesDropped == nil {
		l.t.Fatalf("/health does not say how many lines were dropped: %v:\n%s", err, text)
	}
	return *report.LogLinesDropped
}

// dial connects where there is a place: one of a connection that has ended is given
// back a moment later, and a client that comes before is reset, while it connects or
// later.
func (l *logged) dial() (*tls.Conn, error) {
	d := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 20 * time.Second}, Config: &tls.Config{
		Certificates: []tls.Certificate{l.client}, InsecureSkipVerify: true,
	}}
	c, err := d.DialContext(l.t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", l.port))
	if err != nil {
		return nil, err
	}
	l.t.Cleanup(func() { c.Close() })
	return c.(*tls.Conn), c.SetDeadline(time.Now().Add(soon))
}

// held is a connection that is served and stays open.
func (l *logged) held() *tls.Conn {
	l.t.Helper()
	var c *tls.Conn
	agenttest.Eventually(l.t, soon, func() (err error) {
		if c, err = l.dial(); err != nil {
			return err
		}
		_, _ = io.WriteString(c, "x")
		_, err = io.ReadFull(c, make([]byte, 1))
		return err
	})
	return c
}

// serve has connections served, one after the other, and nothing must come back
// but what was sent.
func (l *logged) serve(n int) {
	l.t.Helper()
	for i := range n {
		agenttest.Eventually(l.t, soon, func() error { return l.echo(fmt.Sprintf("request %d", i)) })
	}
}

func (l *logged) echo(text string) error {
	c, err := l.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	back, err := io.ReadAll(c)
	if err == nil && string(back) != text {
		err = fmt.Errorf("%q came back for %q", back, text)
	}
	return err
}

// chatter makes it log more than any queue holds, by strangers: one line each.
func (l *logged) chatter() {
	l.t.Helper()
	for range 2000 {
		c := listenertest.Dial(l.t, "tcp", fmt.Sprintf("127.0.0.1:%d", l.port))
		_, _ = io.WriteString(c, "this is no handshake, but long enough to look like one")
		_ = c.SetDeadline(time.Now().Add(soon))
		_, _ = io.Copy(io.Discard, c)
		c.Close()
	}
}

// memory is what the process has of the machine's, in MiB.
func (l *logged) memory() int {
	l.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.Pid()))
	if err != nil {
		l.t.Fatal(err)
	}
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(text)
	kb, err := strconv.Atoi(string(m[1]))
	if err != nil {
		l.t.Fatal(err)
	}
	return kb >> 10
}

// reader is the test's end of a named pipe that reads only when it is told to.
func reader(t *testing.T) (name string, r *os.File) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "log")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return name, r
}

// terminal is a pair of them: what is written to the one can be read from the
// other.
func terminal(t *testing.T) (name string, master *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("/dev/pts/%d", n), master
}

func TestWhatBecomesOfTheLogIsNoticedByNobody(t *testing.T) {
	const plain = `exec "$0" "$@" >"$LOG" 2>&1`
	for name, tc := range map[string]struct {
		line string
		log  func(*testing.T) (name string, r *os.File) // r is closed once the program is ready
		full bool                                       // r is not closed and not read either
		lost bool                                       // lines must have been dropped
		long bool                                       // left out with -short, being much like another
	}{
		"closed descriptors":           {line: `exec "$0" "$@" <&- >&- 2>&-`, long: true},
		"a descriptor to read from":    {line: `exec "$0" "$@" >/dev/null 2</dev/null`, lost: true, long: true},
		"a full disk":                  {line: `exec "$0" "$@" >/dev/full 2>&1`, lost: true},
		"a reader that leaves":         {line: plain, log: reader, lost: true},
		"the same, SIGPIPE is ignored": {line: `trap "" PIPE; ` + plain, log: reader, lost: true, long: true},
		"a reader that stops reading":  {line: plain, log: reader, full: true, lost: true},
		"a terminal that is closed":    {line: plain, log: terminal, lost: true, long: true},
		"a terminal that stands still": {line: plain, log: terminal, full: true, lost: true, long: true},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && tc.long {
				t.Skip("not with -short")
			}
			t.Parallel()
			var file string
			var r *os.File
			if tc.log != nil {
				file, r = tc.log(t)
			}
			l := startLogged(t, tc.line, file)
			if r != nil && !tc.full {
				r.Close()
			}
			l.serve(10)
			l.chatter()
			before := l.memory()
			l.chatter()
			l.serve(10)
			most := 20
			if agenttest.Race() {
				most = 50 // the detector keeps a shadow of what is used
			}
			if grown := l.memory() - before; grown > most {
				t.Errorf("memory has grown by %d MiB", grown)
			}
			if n := l.dropped(); n > 0 != tc.lost {
				t.Errorf("%d lines dropped", n)
			}
			l.Signal(syscall.SIGTERM)
			if code := l.Wait(anEnd); code != exitDrained {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

func TestASecondSignalExitsAtOnceAlsoWithAFullLog(t *testing.T) {
	file, _ := reader(t)
	l := startLogged(t, `exec "$0" "$@" 2>"$LOG"`, file)
	l.chatter()
	l.held()
	l.Signal(syscall.SIGTERM)
	agenttest.Eventually(t, soon, func() error {
		if text, err := l.get("/health"); err != nil || !strings.Contains(text, `"draining":true`) && !strings.Contains(text, `"draining": true`) {
			return errors.Join(errors.New("not draining"), err)
		}
		return nil
	})
	l.Signal(syscall.SIGTERM)
	if code := l.Wait(anEnd); code != exitFailed { // the drain would take 30 s
		t.Errorf("exit code %d", code)
	}
}

func TestNoConnectionEverStandsWhereTheStreamsWere(t *testing.T) {
	l := startLogged(t, `exec "$0" "$@" <&- >&- 2>&-`, "")
	l.held()
	for fd := range 3 {
		if to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", l.Pid(), fd)); err != nil || to != os.DevNull {
			t.Errorf("descriptor %d is %s, %v", fd, to, err)
		}
	}
}

// A log that is read late lacks lines where it says so, as many as it says, and
// no line is torn.
func TestALogThatIsReadAgainSaysWhatIsMissing(t *testing.T) {
	file, r := reader(t)
	l := startLogged(t, `exec "$0" "$@" 2>"$LOG"`, file)
	l.chatter()
	dropped := l.dropped()
	if dropped == 0 {
		t.Fatal("nothing was dropped")
	}
	var log agenttest.Log
	over := make(chan error)
	go func() {
		_, err := io.Copy(&log, r)
		over <- err
	}()
	agenttest.Eventually(t, soon, func() error {
		if !strings.Contains(log.String(), "missing here") {
			return fmt.Errorf("nothing is said to be missing")
		}
		return nil
	})
	l.serve(1)
	l.Signal(syscall.SIGTERM)
	if code := l.Wait(anEnd); code != exitDrained {
		t.Errorf("exit code %d", code)
	}
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	var said uint64
	for _, m := range regexp.MustCompile(`missing here.*dropped=(\d+)`).FindAllStringSubmatch(log.String(), -1) {
		n, err := strconv.ParseUint(m[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		said += n
	}
	if said < dropped {
		t.Errorf("the log says that %d lines are missing, /health said %d", said, dropped)
	}
	if !strings.Contains(log.String(), "drained:") {
		t.Error("the last line is missing")
	}
	for _, line := range bytes.Split([]byte(strings.TrimSuffix(log.String(), "\n")), []byte("\n")) {
		if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\S+ \[\w+\] +connect-proxy`).Match(line) {
			t.Errorf("a torn line: %q", line)
		}
	}
}

func TestALogOnADiskThatHasRoomAgainIsWrittenOn(t *testing.T) {
	dir := t.TempDir()
	agenttest.SmallDisk(t, dir, "size=64k")
	ballast := filepath.Join(dir, "ballast")
	l := startLogged(t, `exec "$0" "$@" 2>>"$LOG"`, filepath.Join(dir, "log"))
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("the disk is not small")
	}
	l.serve(3)
	l.chatter()
	l.serve(3)
	if l.dropped() == 0 {
		t.Error("nothing was dropped")
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	agenttest.Eventually(t, soon, func() error {
		text, err := os.ReadFile(filepath.Join(dir, "log"))
		if err == nil && !bytes.Contains(text, []byte("missing here")) {
			err = fmt.Errorf("%d bytes, nothing is said to be missing", len(text))
		}
		return err
	})
	l.Signal(syscall.SIGTERM)
	if code := l.Wait(anEnd); code != exitDrained {
		t.Errorf("exit code %d", code)
	}
	text, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil || !bytes.Contains(text, []byte("drained:")) {
		t.Errorf("the last line is missing: %v", err)
	}
}
