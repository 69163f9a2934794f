//go:build unix

package cli

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
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
	p.WaitOutput(soon, "starting connect-proxy")
	return p
}

// hold opens a connection that is not over while there is no certificate to
// pass it on with.
func hold(t *testing.T, port int) {
	t.Helper()
	agenttest.Eventually(t, soon, func() error {
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
			if code := p.Wait(anEnd); code != exitDrained {
				t.Errorf("exit code %d", code)
			}
			p.WaitOutput(soon, "drained")
		})
	}
}

func TestASecondSignalExitsAtOnceWith1(t *testing.T) {
	port := agenttest.FreePort(t)
	p := start(t, port)
	hold(t, port)
	p.Signal(syscall.SIGTERM)
	p.WaitOutput(soon, "draining")
	if !p.Running() {
		t.Fatal("did not wait for the open connection")
	}
	p.Signal(syscall.SIGINT)
	if code := p.Wait(anEnd); code != exitFailed { // the drain would take 30 s
		t.Errorf("exit code %d", code)
	}
	p.WaitOutput(soon, "second signal")
}

func TestAHangUpIsIgnored(t *testing.T) {
	p := start(t, agenttest.FreePort(t))
	p.Signal(syscall.SIGHUP)
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(anEnd); code != exitDrained {
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
	p.Wait(anEnd)
	found := regexp.MustCompile(`open_files=(\d+)`).FindStringSubmatch(p.Output.String())
	if found == nil {
		t.Fatalf("the number of descriptors is not logged:\n%s", p.Output)
	}
	// Go stays one below, to see whether somebody else changes it.
	if got, err := strconv.ParseUint(found[1], 10, 64); err != nil || got < uint64(limit.Max)-1 { //nolint:unconvert // it is signed on FreeBSD
		t.Errorf("%s descriptors, want the hard limit, %d", found[1], limit.Max)
	}
}

// A pipe is opened only when somebody writes, which no signal to this program can
// bring about.
func TestAPipeInPlaceOfAFileIsRefusedAtTheStart(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	release := time.AfterFunc(20*time.Second, func() { // lets go whoever waits for a writer
		t.Error("the pipe is waited for")
		if w, err := os.OpenFile(pipe, os.O_RDWR, 0); err == nil {
			w.Close()
		}
	})
	defer release.Stop()
	file := filepath.Join(t.TempDir(), "identity.hcl")
	text := fmt.Sprintf("identity \"a\" {\n  cert_file = %[1]q\n  key_file = %[1]q\n  ca_file = %[1]q\n}\nupstream {\n  destination_addresses = [\"127.0.0.1:1\"]\n  local_bind_port = 9191\n}\n", pipe)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	agent := []string{"-proxy-id", "web", "-http-addr", "https://127.0.0.1:1"}
	for name, args := range map[string][]string{
		"a configuration":       {"-config-file", pipe, "-admin-addr", "off"},
		"one to validate":       {"validate", pipe},
		"an identity":           {"-config-file", file, "-admin-addr", "off"},
		"a token":               append(agent, "-token-file", pipe),
		"a CA":                  append(agent, "-ca-file", pipe),
		"CAs":                   append(agent, "-ca-path", filepath.Dir(pipe)),
		"a certificate and key": append(agent, "-client-cert", pipe, "-client-key", pipe),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		var stdout, stderr bytes.Buffer
		code := Run(ctx, args, &stdout, &stderr)
		cancel()
		if code != exitUsage || !strings.Contains(stderr.String(), "not a regular file") {
			t.Errorf("%s: code %d\n%s", name, code, &stderr)
		}
	}
}
