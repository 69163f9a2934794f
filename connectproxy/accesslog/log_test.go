package accesslog

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/listener"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inbound is a connection of web's to db that was served.
func inbound() listener.Summary {
	return listener.Summary{
		Open: listener.Open{
			ID:       7,
			Listener: "public",
			Start:    time.Date(2026, 11, 28, 7, 8, 9, 123456000, time.UTC),
			Client:   &net.TCPAddr{IP: net.IPv4(10, 0, 0, 7), Port: 4711},
			Local:    &net.TCPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 20000},
			SessionInfo: listener.SessionInfo{
				Peer: "spiffe://11111111.consul/ns/shop/dc/dc1/svc/web", Serial: "0a:0b",
				TLSVersion: 0x0304, CipherSuite: 0x1301, ServerName: "db.default.dc1", Resumed: true,
			},
			Instance:  listener.Instance{Address: "127.0.0.1:5432", Attempts: 1},
			Handshake: 1500 * time.Microsecond, Authorization: 20 * time.Microsecond, Dial: 300 * time.Microsecond,
		},
		ToUpstream: 11, ToClient: 22, Duration: 2500 * time.Millisecond,
		Reason: listener.ReasonClosed, Relayed: true,
	}
}

// denied is the same, refused.
func denied() listener.Summary {
	s := inbound()
	s.ID, s.Reason, s.Relayed, s.Err = 8, listener.ReasonDenied, false, errors.New(`denied: by "rule" 1`)
	s.Instance, s.ToUpstream, s.ToClient, s.Dial, s.Authorization = listener.Instance{}, 0, 0, 0, 0
	return s
}

var public = ListenerInfo{Direction: Inbound, Service: "db", Intention: func(string) string { return "Matched L4 intention" }}

// record writes connections by a configuration and returns what was written.
func record(t *testing.T, c config.AccessLog, source ListenerInfo, all ...listener.Summary) string {
	t.Helper()
	var out agenttest.Log
	l := New(Options{Stdout: &out, Stderr: io.Discard, JSON: true})
	if _, err := l.Update(c); err != nil {
		t.Fatal(err)
	}
	o := l.Observer(source)
	for _, s := range all {
		o.ConnOpened(s.Open)
		o.ConnClosed(s)
	}
	if !l.Close(30*time.Second) || l.Dropped() != 0 {
		t.Errorf("%d records were dropped", l.Dropped())
	}
	return out.String()
}

func TestARecordOfOurOwnHasEveryField(t *testing.T) {
	got := record(t, config.AccessLog{Connections: config.AccessLogAll}, public, inbound(), denied())
	want := `{"@timestamp":"2026-11-28T07:08:11.623456Z","@level":"info","@message":"connection closed","id":7,"listener":"public","direction":"inbound","source":"shop/web","destination":"db","client":"10.0.0.7:4711","peer":"spiffe://11111111.consul/ns/shop/dc/dc1/svc/web","instance_address":"127.0.0.1:5432","attempts":1,"tls_version":"TLSv1.3","resumed":true,"sni":"db.default.dc1","intention":"Matched L4 intention","to_destination_bytes":11,"to_source_bytes":22,"handshake_ms":1.5,"authorize_ms":0.02,"dial_ms":0.3,"duration_ms":2500,"reason":"closed"}
{"@timestamp":"2026-11-28T07:08:11.623456Z","@level":"warn","@message":"connection refused","id":8,"listener":"public","direction":"inbound","source":"shop/web","destination":"db","client":"10.0.0.7:4711","peer":"spiffe://11111111.consul/ns/shop/dc/dc1/svc/web","tls_version":"TLSv1.3","resumed":true,"sni":"db.default.dc1","intention":"Matched L4 intention","handshake_ms":1.5,"duration_ms":2500,"reason":"denied","error":"denied: by \"rule\" 1"}
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestARecordInTextIsALineOfTheSameFields(t *testing.T) {
	var out agenttest.Log
	l := New(Options{Stdout: &out, Stderr: io.Discard})
	if _, err := l.Update(config.AccessLog{Connections: config.AccessLogAll}); err != nil {
		t.Fatal(err)
	}
	s := denied()
	s.Instance = listener.Instance{ID: "node/db-1", Address: "10.0.0.5:20000", Attempts: 3}
	l.Observer(ListenerInfo{Direction: Outbound, Service: "web", Destination: "db.dc.dc2"}).ConnClosed(s)
	l.Close(30 * time.Second)
	want := `2026-11-28T07:08:11.623456Z [WARN]  access: connection refused: id=8 listener=public direction=outbound source=web destination=db.dc.dc2 client=10.0.0.7:4711 peer=spiffe://11111111.consul/ns/shop/dc/dc1/svc/web instance=node/db-1 instance_address=10.0.0.5:20000 attempts=3 tls_version=TLSv1.3 resumed=true sni=db.default.dc1 handshake_ms=1.5 duration_ms=2500 reason=denied error="denied: by \"rule\" 1"
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestWhatIsRecordedIsAChoice(t *testing.T) {
	silent, garbage := denied(), denied()
	silent.Reason, garbage.Reason = listener.ReasonSilent, listener.ReasonHandshakeFailed
	for name, tc := range map[string]struct {
		c    config.AccessLog
		want []string
	}{
		"off":         {config.AccessLog{Connections: config.AccessLogOff}, nil},
		"nothing":     {config.AccessLog{}, nil},
		"errors":      {config.AccessLog{Connections: config.AccessLogErrors}, []string{"denied", "handshake_failed"}},
		"all":         {config.AccessLog{Connections: config.AccessLogAll}, []string{"closed", "denied", "silent", "handshake_failed"}},
		"no listener": {config.AccessLog{Connections: config.AccessLogAll, DisableListenerLogs: true}, []string{"closed", "denied"}},
	} {
		got := record(t, tc.c, public, inbound(), denied(), silent, garbage)
		var reasons []string
		for _, line := range strings.Split(strings.TrimSpace(got), "\n") {
			var r struct{ Reason string }
			if line != "" && json.Unmarshal([]byte(line), &r) == nil {
				reasons = append(reasons, r.Reason)
			}
		}
		if strings.Join(reasons, " ") != strings.Join(tc.want, " ") {
			t.Errorf("%s: recorded %q, want %q", name, reasons, tc.want)
		}
	}
}

// hostile are texts that would end a record or a value, or begin another.
var hostile = []string{
	"x\n{\"reason\":\"closed\",\"peer\":\"spiffe://td/svc/admin\"}",
	"x\", \"peer\": \"spiffe://td/svc/admin", "x\r\n2026 [INFO]  access: connection closed: reason=closed",
	"x reason=closed", `x\`, "x\u2028y", "x\x1b[2Jy", "x\xff\xfey", "%REASON%", strings.Repeat("y", 70_000),
}

func TestNobodyCanForgeARecordOrAField(t *testing.T) {
	formats := map[string]config.AccessLog{
		"own":   {},
		"Envoy": {Enabled: true},
		"JSON":  {JSONFormat: `{"peer": "%DOWNSTREAM_PEER_URI_SAN%", "nested": {"sni": ["%REQUESTED_SERVER_NAME%"]}, "reason": "%CONNECT_REASON%"}`},
	}
	for name, c := range formats {
		c.Connections = config.AccessLogAll
		for _, text := range hostile {
			s := denied()
			s.ServerName, s.Peer, s.Err = text, "spiffe://td/svc/"+text, errors.New(text)
			got := record(t, c, public, s)
			if strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "\n") || len(got) > 4096 {
				t.Errorf("%s: %.20q made %d lines, %d bytes: %.300q", name, text, strings.Count(got, "\n"), len(got), got)
			}
			var r map[string]any
			if err := json.Unmarshal([]byte(got), &r); err != nil || r["reason"] != "denied" || r["peer"] == "spiffe://td/svc/admin" {
				t.Errorf("%s: %.20q: %v, reason %v, peer %.80v", name, text, err, r["reason"], r["peer"])
			}
		}
	}
}

func TestNobodyCanForgeALineOrAQuotationInText(t *testing.T) {
	for _, text := range hostile {
		s := denied()
		s.ServerName, s.Err = text, errors.New(text)
		c := config.AccessLog{Connections: config.AccessLogAll, TextFormat: `"%REQUESTED_SERVER_NAME%" "%CONNECT_REASON%"`}
		got := record(t, c, public, s)
		if strings.Count(got, "\n") != 1 || strings.Contains(got, "\x1b") || !strings.HasSuffix(got, "\" \"denied\"\n") {
			t.Errorf("%.20q made %.300q", text, got)
		}
		if inside := strings.TrimSuffix(strings.TrimPrefix(got, `"`), "\" \"denied\"\n"); strings.Contains(strings.ReplaceAll(strings.ReplaceAll(inside, `\\`, ""), `\"`, ""), `"`) {
			t.Errorf("%.20q ends its quotation: %.300q", text, got)
		}
		var out agenttest.Log
		l := New(Options{Stdout: &out, Stderr: io.Discard})
		if _, err := l.Update(config.AccessLog{Connections: config.AccessLogAll}); err != nil {
			t.Fatal(err)
		}
		l.Observer(public).ConnClosed(s)
		l.Close(30 * time.Second)
		got = out.String()
		if strings.Count(got, "\n") != 1 || strings.Contains(got, "\x1b") || strings.Contains(got, " sni=x reason=closed") {
			t.Errorf("%.20q made %.300q", text, got)
		}
	}
}

func TestALogIsWrittenToTheFileThatIsNamedAndGoesOnInItsSuccessor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	var stdout, stderr agenttest.Log
	l := New(Options{Stdout: &stdout, Stderr: &stderr, JSON: true})
	o := l.Observer(public)
	update := func(c config.AccessLog) {
		t.Helper()
		c.Connections = config.AccessLogAll
		if _, err := l.Update(c); err != nil {
			t.Fatal(err)
		}
	}
	update(config.AccessLog{Type: config.AccessLogFile, Path: path})
	o.ConnClosed(inbound())
	lines(t, path, 1)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	l.Reopen()
	o.ConnClosed(denied())
	lines(t, path, 1)
	lines(t, path+".1", 1)

	update(config.AccessLog{Type: config.AccessLogFile, Path: path, TextFormat: "%CONNECT_REASON%"})
	o.ConnClosed(denied())
	lines(t, path, 2)
	update(config.AccessLog{Type: config.AccessLogStderr})
	o.ConnClosed(denied())
	update(config.AccessLog{Type: config.AccessLogStdout})
	o.ConnClosed(denied())
	o.ConnClosed(denied())
	if !l.Close(30 * time.Second) {
		t.Error("not everything was written")
	}
	if a, b := strings.Count(stderr.String(), "\n"), strings.Count(stdout.String(), "\n"); a != 1 || b != 2 {
		t.Errorf("%d records in stderr, %d in stdout", a, b)
	}
	lines(t, path, 2)
	o.ConnClosed(denied()) // after the end: nobody is there
	if l.Dropped() != 0 || l.Problem() != nil {
		t.Errorf("%d were dropped, %v", l.Dropped(), l.Problem())
	}
}

// lines waits until a file has n lines.
func lines(t *testing.T, path string, n int) {
	t.Helper()
	var got []byte
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); <-time.After(time.Millisecond) {
		if got, _ = os.ReadFile(path); strings.Count(string(got), "\n") == n {
			return
		}
	}
	t.Fatalf("%s has not %d lines but %q", filepath.Base(path), n, got)
}

// closed is a pipe whose reader has gone, full one that nobody reads.
func closed(t *testing.T) io.Writer {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	t.Cleanup(func() { w.Close() })
	return w
}

func full(t *testing.T) io.Writer {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return w
}

func TestAReaderThatHasGoneOrStoppedCostsRecordsAndNoTime(t *testing.T) {
	for name, to := range map[string]io.Writer{"gone": closed(t), "stopped": full(t)} {
		t.Run(name, func(t *testing.T) {
			l := New(Options{Stdout: to, Stderr: io.Discard, JSON: true})
			if _, err := l.Update(config.AccessLog{Connections: config.AccessLogAll}); err != nil {
				t.Fatal(err)
			}
			o := l.Observer(public)
			const many = 20_000
			began := time.Now()
			for range many {
				o.ConnClosed(inbound())
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("%d connections took %s", many, took)
			}
			if l.Dropped() == 0 {
				t.Error("nothing is counted as dropped")
			}
			began = time.Now()
			if l.Close(200 * time.Millisecond) {
				t.Error("Close says that everything was written")
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("Close took %s", took)
			}
		})
	}
}

func TestTheCountOfLostRecordsNeverGoesDown(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	l := New(Options{Stdout: w, Stderr: io.Discard, JSON: true})
	if _, err := l.Update(config.AccessLog{Connections: config.AccessLogAll}); err != nil {
		t.Fatal(err)
	}
	o := l.Observer(public)
	for range 2000 {
		o.ConnClosed(inbound())
	}
	before := l.Dropped()
	if _, err := l.Update(config.AccessLog{}); err != nil {
		t.Fatal(err)
	}
	if n := l.Dropped(); before == 0 || n < before {
		t.Errorf("%d were dropped, and %d once the access log was turned off", before, n)
	}
	r.Close() // ends the writer that was replaced
	l.Close(20 * time.Second)
	if n := l.Dropped(); n < before {
		t.Errorf("%d were dropped, and %d at the end", before, n)
	}
}

func TestAFullDiskIsSaidAndCostsRecordsOnly(t *testing.T) {
	if _, err := os.Stat("/dev/full"); runtime.GOOS != "linux" && errors.Is(err, fs.ErrNotExist) {
		t.Skip("this system has no /dev/full")
	}
	l := New(Options{Stdout: io.Discard, Stderr: io.Discard, JSON: true})
	c := config.AccessLog{Connections: config.AccessLogAll, Type: config.AccessLogFile, Path: "/dev/full"}
	if _, err := l.Update(c); err != nil {
		t.Fatal(err)
	}
	o := l.Observer(public)
	for range 2000 {
		o.ConnClosed(inbound())
	}
	for end := time.Now().Add(30 * time.Second); l.Problem() == nil && time.Now().Before(end); {
		<-time.After(time.Millisecond)
	}
	if !errors.Is(l.Problem(), syscall.ENOSPC) || l.Dropped() == 0 {
		t.Errorf("the problem is %v, %d were dropped", l.Problem(), l.Dropped())
	}
	if l.Close(time.Second) {
		t.Error("Close says that everything was written")
	}
}

func TestAnUpdateDuringTrafficLosesAndTearsNothing(t *testing.T) {
	dir := t.TempDir()
	l := New(Options{Stdout: io.Discard, Stderr: io.Discard, JSON: true})
	o := l.Observer(public)
	paths := []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}
	update := func(i int) {
		c := config.AccessLog{Connections: config.AccessLogAll, Type: config.AccessLogFile, Path: paths[i%2]}
		if _, err := l.Update(c); err != nil {
			t.Error(err)
		}
	}
	update(0)
	var work sync.WaitGroup
	const each = 100 // fit into the queue, should nobody get to write them meanwhile
	for range 4 {
		work.Go(func() {
			for range each {
				o.ConnClosed(inbound())
				<-time.After(100 * time.Microsecond)
			}
		})
	}
	for i := range 20 {
		update(i + 1)
		<-time.After(time.Millisecond)
	}
	work.Wait()
	if !l.Close(20*time.Second) || l.Dropped() != 0 {
		t.Errorf("%d were dropped", l.Dropped())
	}
	n := 0
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); n++ {
			if !json.Valid(s.Bytes()) {
				t.Fatalf("a torn record: %q", s.Text())
			}
		}
	}
	if n != 4*each {
		t.Errorf("%d records, want %d", n, 4*each)
	}
}
