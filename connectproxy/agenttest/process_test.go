package agenttest_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
)

// shell runs a line of sh as a child.
func shell(t *testing.T, line string, env ...string) *agenttest.Process {
	t.Helper()
	return agenttest.StartProcess(t, agenttest.ProcessOptions{Path: agenttest.Program(t, "sh"), Args: []string{"-c", line}, Env: env})
}

func TestAProcessGivesItsOutputAndExitCode(t *testing.T) {
	p := shell(t, "echo to out; echo to err >&2; exit 7")
	if code := p.Wait(10 * time.Second); code != 7 {
		t.Errorf("exit code %d", code)
	}
	if got := p.Stdout.String(); got != "to out\n" {
		t.Errorf("standard output: %q", got)
	}
	if got := p.Stderr.String(); got != "to err\n" {
		t.Errorf("standard error: %q", got)
	}
	if n := len(p.Output.Matching("to out", "to err")); n != 2 {
		t.Errorf("%d lines in both together", n)
	}
	if p.Running() {
		t.Error("it still runs")
	}
}

func TestAProcessIsSignalled(t *testing.T) {
	p := shell(t, `trap 'echo caught; exit 3' TERM; echo set; while :; do sleep 0.01; done`)
	p.WaitOutput(10*time.Second, "set")
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(10 * time.Second); code != 3 || !strings.Contains(p.Output.String(), "caught") {
		t.Errorf("exit code %d, output %q", code, p.Output)
	}
	p.Signal(os.Interrupt)
}

func TestAProcessAndItsChildrenEndWithTheTest(t *testing.T) {
	var p *agenttest.Process
	t.Run("inner", func(t *testing.T) {
		p = shell(t, "sleep 3600 & echo $!; wait")
		p.WaitOutput(10*time.Second, "\n")
	})
	if p.Running() {
		t.Error("it still runs")
	}
	agenttest.Eventually(t, 10*time.Second, func() error {
		if err := exec.Command("sh", "-c", "! kill -0 "+strings.TrimSpace(p.Stdout.String())+" 2>/dev/null").Run(); err != nil {
			return err
		}
		return nil
	})
}

func TestAProcessSeesNothingOfConsulsInItsEnvironment(t *testing.T) {
	t.Setenv("CONSUL_HTTP_TOKEN", "inherited")
	t.Setenv("CONNECT_PROXY_ID", "inherited")
	p := shell(t, "env", "CONNECT_PROXY_TOKEN=given")
	p.Wait(10 * time.Second)
	if got := p.Stdout.Matching("CONSUL_", "CONNECT_"); len(got) != 1 || got[0] != "CONNECT_PROXY_TOKEN=given" {
		t.Errorf("%q", got)
	}
}

func TestPortsAreFreeAndDiffer(t *testing.T) {
	seen := map[int]bool{}
	for range 40 {
		first := agenttest.FreePorts(t, 7)
		for port := first; port < first+7; port++ {
			if seen[port] {
				t.Fatalf("port %d was given twice", port)
			}
			seen[port] = true
		}
	}
}

func TestALogKeepsTheNewest(t *testing.T) {
	var l agenttest.Log
	line := strings.Repeat("x", 1<<20-1) + "\n"
	for range 12 {
		_, _ = l.Write([]byte(line))
	}
	_, _ = l.Write([]byte("the end\n"))
	if n := len(l.String()); n > 9<<20 || n < 4<<20 {
		t.Errorf("%d bytes were kept", n)
	}
	if l.Tail(1) != "the end" {
		t.Errorf("the last line is %q", l.Tail(1))
	}
}
