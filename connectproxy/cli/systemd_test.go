//go:build unix

package cli

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/connectproxy/agenttest"
)

// notifySocket is a service manager's.
func notifySocket(t *testing.T) (path string, conn *net.UnixConn) {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify") //nolint:usetesting // t.TempDir's may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path = filepath.Join(dir, "s")
	conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return path, conn
}

// await reads until a datagram has line in it, and returns that.
func await(t *testing.T, conn *net.UnixConn, line string) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("waiting for %s: %v", line, err)
		}
		if strings.Contains("\n"+string(buf[:n])+"\n", "\n"+line) {
			return string(buf[:n])
		}
	}
}

func TestTheServiceManagerIsToldOfReadinessLifeAndTheEnd(t *testing.T) {
	path, conn := notifySocket(t)
	t.Setenv("NOTIFY_SOCKET", path)
	m := newServiceManager(hclog.NewNullLogger())
	m.reporter()(false, []string{"no certificate", "the agent\nis away"})
	if got := await(t, conn, "STATUS="); got != "WATCHDOG=1\nSTATUS=no certificate; the agent is away" {
		t.Errorf("told %q", got)
	}
	m.notify(true, nil)
	if got := await(t, conn, "READY=1"); got != "WATCHDOG=1\nREADY=1\nSTATUS=ready" {
		t.Errorf("told %q", got)
	}
	m.notify(false, []string{"later"})
	m.notify(true, nil)
	if got := await(t, conn, "STATUS=ready"); strings.Contains(got, "READY=1") {
		t.Errorf("ready twice: %q", got)
	}
	m.stopping()
	if got := await(t, conn, "STOPPING=1"); got != "STOPPING=1\nSTATUS=draining" {
		t.Errorf("told %q", got)
	}
}

func TestAServiceManagerThatDoesNotReadHoldsNothingUp(t *testing.T) {
	path, _ := notifySocket(t)
	t.Setenv("NOTIFY_SOCKET", path)
	m := newServiceManager(hclog.NewNullLogger())
	begin := time.Now()
	for range 30 { // a socket holds some ten datagrams that nobody reads
		m.notify(true, nil)
	}
	if took := time.Since(begin); took > 30*2*notifyTimeout {
		t.Errorf("30 words took %s", took)
	}
	os.Remove(path)
	m.notify(true, nil)
}

func TestWithoutAServiceManagerNobodyIsTold(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	m := newServiceManager(hclog.NewNullLogger())
	if m.reporter() != nil {
		t.Error("somebody is told")
	}
	m.stopping()
}

func TestTheProgramTellsTheServiceManagerUnderARealAgent(t *testing.T) {
	agenttest.SkipShort(t)
	agent := agenttest.Modern(t, agenttest.Options{})
	path, conn := notifySocket(t)
	p := agenttest.StartProcess(t, agenttest.ProcessOptions{
		Path: self(t),
		Args: []string{"-service", "web", "-upstream", fmt.Sprintf("db:%d", agenttest.FreePort(t))},
		Env:  []string{asProgram + "=1", "CONSUL_HTTP_ADDR=" + agent.HTTPAddr, "CONSUL_HTTP_TOKEN=" + agent.Token, "NOTIFY_SOCKET=" + path},
	})
	await(t, conn, "READY=1")
	await(t, conn, "WATCHDOG=1")
	p.Signal(os.Interrupt)
	await(t, conn, "STOPPING=1")
}
