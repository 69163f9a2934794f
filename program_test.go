//go:build unix

package main

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
)

// start runs the program as a child. There is no agent where it looks for one,
// which ends nothing.
func start(t *testing.T, port int) *agenttest.Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := agenttest.StartProcess(t, agenttest.ProcessOptions{
		// The soft limit is what a system gives; the program takes the hard one.
		Path: "/bin/sh",
		Args: []string{"-c", `ulimit -S -n 256 && exec "$0" "$@"`, self,
			"-service", "web", "-upstream", fmt.Sprintf("db:%d", port), "-http-addr", "127.0.0.1:1"},
		Env: []string{asProgram + "=1"},
	})
	p.WaitOutput(10*time.Second, "starting connect-proxy")
	return p
}

// hold opens a connection that is not over while there is no certificate to
// pass it on with.
func hold(t *testing.T, port int) {
	t.Helper()
	agenttest.Eventually(t, 10*time.Second, func() error {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
		return err
	})
}

func TestEitherSignalDrainsAndExits0(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			p := start(t, agenttest.FreePort(t))
			p.Signal(sig)
			if code := p.Wait(10 * time.Second); code != exitDrained {
				t.Errorf("exit code %d", code)
			}
			p.WaitOutput(time.Second, "drained")
		})
	}
}

func TestASecondSignalExitsAtOnceWith1(t *testing.T) {
	port := agenttest.FreePort(t)
	p := start(t, port)
	hold(t, port)
	p.Signal(syscall.SIGTERM)
	p.WaitOutput(10*time.Second, "draining")
	if !p.Running() {
		t.Fatal("did not wait for the open connection")
	}
	p.Signal(syscall.SIGINT)
	if code := p.Wait(2 * time.Second); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	p.WaitOutput(time.Second, "second signal")
}

func TestAHangUpIsIgnored(t *testing.T) {
	p := start(t, agenttest.FreePort(t))
	p.Signal(syscall.SIGHUP)
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(10 * time.Second); code != exitDrained {
		t.Errorf("exit code %d", code)
	}
}

func TestDescriptorsAreRaisedToTheHardLimit(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max <= 256 {
		t.Skipf("the hard limit is %d: there is nothing to raise to", limit.Max)
	}
	p := start(t, agenttest.FreePort(t))
	p.Signal(syscall.SIGTERM)
	p.Wait(10 * time.Second)
	found := regexp.MustCompile(`open_files=(\d+)`).FindStringSubmatch(p.Output.String())
	if found == nil {
		t.Fatalf("the number of descriptors is not logged:\n%s", p.Output)
	}
	// Go stays one below, to see whether somebody else changes it.
	if got, err := strconv.ParseUint(found[1], 10, 64); err != nil || got < uint64(limit.Max)-1 { //nolint:unconvert // it is signed on FreeBSD
		t.Errorf("%s descriptors, want the hard limit, %d", found[1], limit.Max)
	}
}
