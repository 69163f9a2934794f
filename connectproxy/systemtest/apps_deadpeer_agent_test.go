//go:build linux

package systemtest_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"golang.org/x/sys/unix"

	"connect-proxy/connectproxy/agenttest"
)

// TestADeadPeerIsFoundWithinTwoMinutes has two proxies in network namespaces of
// their own, and cuts the wire between them under one connection that is idle
// and one on which data is on its way.
func TestADeadPeerIsFoundWithinTwoMinutes(t *testing.T) {
	agenttest.SkipShort(t)
	t.Parallel() // and without a place: it waits from its first seconds on, and for longest
	near, far := namespace(t), namespace(t)
	wire(t, near, far)

	// Files are seen from everywhere, unlike addresses.
	dir := t.TempDir()
	socket := func(name string) string { return filepath.Join(dir, name) }
	a := agenttest.Modern(t, agenttest.Options{HCL: []string{
		fmt.Sprintf("addresses { http = %q }", "127.0.0.1 unix://"+socket("agent")),
	}})
	heard := socketApp(t, socket("app"))
	for _, s := range []api.AgentServiceRegistration{
		{Name: "db", Address: "198.18.7.2", Port: 7000, Proxy: &api.AgentServiceConnectProxyConfig{LocalServiceSocketPath: socket("app")}},
		{Name: "web", Address: "198.18.7.1", Port: 7000, Proxy: &api.AgentServiceConnectProxyConfig{
			Upstreams: []api.Upstream{{DestinationName: "db", LocalBindSocketPath: socket("up")}},
		}},
	} {
		s.Kind, s.Proxy.DestinationServiceName = api.ServiceKindConnectProxy, s.Name
		s.ID = s.Name + "-proxy"
		s.Name = s.ID
		a.Register(&s)
	}
	run := func(ns *os.File, id string) *agenttest.Process {
		return agenttest.StartProcess(t, agenttest.ProcessOptions{
			Path: "nsenter",
			Args: []string{"--net=" + path(ns), agenttest.Binary(t), "-proxy-id", id, "-log-level", "debug"},
			Env:  []string{"CONSUL_HTTP_ADDR=unix://" + socket("agent")},
		})
	}
	inbound, outbound := run(far, "db-proxy"), run(near, "web-proxy")
	inbound.WaitOutput(soon, "ready")
	outbound.WaitOutput(soon, "instances found: upstream=db ")

	ends := map[string]net.Conn{}
	for _, name := range []string{"idle", "busy"} {
		c := dial(t, socket("up"))
		c.wants("app")
		_ = c.SetDeadline(time.Time{})
		ends["the client's, "+name] = c.Conn
		ends["the application's, "+name] = <-heard
	}
	in(t, far, "ip", "link", "set", "wire", "down")
	cut := time.Now()
	// Nobody acknowledges this, in either direction.
	for _, end := range []string{"the client's, busy", "the application's, busy"} {
		if _, err := ends[end].Write([]byte("is anybody there?\n")); err != nil {
			t.Error(err)
		}
	}
	findOut(t, ends, cut)
	for p, reason := range map[*agenttest.Process]string{inbound: "client_lost", outbound: "upstream_lost"} {
		agenttest.Eventually(t, soon, func() error {
			if n := len(p.Output.Matching("reason=" + reason + " ")); n != 2 {
				return fmt.Errorf("%d connections ended as %s", n, reason)
			}
			return nil
		})
	}
}

// findOut waits until each end has been closed, which must not take two
// minutes.
func findOut(t *testing.T, ends map[string]net.Conn, cut time.Time) {
	var all sync.WaitGroup
	for name, c := range ends {
		all.Go(func() {
			_ = c.SetReadDeadline(cut.Add(2 * time.Minute))
			for {
				if _, err := c.Read(make([]byte, 100)); err != nil {
					took := time.Since(cut)
					if took < 30*time.Second || took > 119*time.Second {
						t.Errorf("%s: %v after %s", name, err, took)
					}
					t.Logf("%s: %v after %s", name, err, took)
					return
				}
			}
		})
	}
	all.Wait()
}

// socketApp answers as app does, at a socket, and hands out what it accepted. It
// goes on reading only until it has answered once.
func socketApp(t *testing.T, path string) <-chan net.Conn {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	accepted := make(chan net.Conn, 4)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			buf := make([]byte, 1000)
			n, _ := c.Read(buf)
			_, _ = c.Write(append([]byte("app "), buf[:n]...))
			accepted <- c
		}
	}()
	return accepted
}

// namespace makes a network namespace, which is gone with the last process in
// it and with the file.
func namespace(t *testing.T) *os.File {
	t.Helper()
	type result struct {
		file *os.File
		err  error
	}
	made := make(chan result)
	go func() {
		// Never unlocked: the thread, changed as it is, ends with the goroutine.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- result{nil, err}
			return
		}
		f, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		made <- result{f, err}
	}()
	r := <-made
	switch {
	case errors.Is(r.err, unix.EPERM):
		t.Skipf("a network namespace takes root with CAP_SYS_ADMIN: %v", r.err)
	case r.err != nil:
		t.Fatalf("making a network namespace: %v", r.err)
	}
	t.Cleanup(func() { r.file.Close() })
	return r.file
}

// path is how another process names what this one has open.
func path(ns *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.Fd()) }

// in runs a command in a namespace.
func in(t *testing.T, ns *os.File, command ...string) {
	t.Helper()
	out, err := exec.Command("nsenter", append([]string{"--net=" + path(ns)}, command...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
}

// wire connects two namespaces by a pair of interfaces.
func wire(t *testing.T, near, far *os.File) {
	t.Helper()
	agenttest.Program(t, "ip")
	agenttest.Program(t, "nsenter")
	// A process in the far one gives ip something to name it by.
	holder := exec.Command("nsenter", "--net="+path(far), "cat")
	hold, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	ready, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { hold.Close(); _ = holder.Wait() }()
	_, _ = hold.Write([]byte{'.'})
	_, _ = ready.Read(make([]byte, 1)) // it has entered
	link := []string{"--net=" + path(near), "ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", fmt.Sprint(holder.Process.Pid)}
	out, err := exec.Command("nsenter", link...).CombinedOutput()
	switch text := string(out); {
	case err == nil:
	case strings.Contains(text, "Operation not permitted"):
		t.Skipf("a pair of interfaces takes root with CAP_NET_ADMIN: %s", text)
	case strings.Contains(text, "Unknown device type"), strings.Contains(text, "Operation not supported"):
		t.Skipf("a pair of interfaces takes a kernel with veth: %s", text)
	default:
		t.Fatalf("making a pair of interfaces: %v: %s", err, text)
	}
	for ns, address := range map[*os.File]string{near: "198.18.7.1/24", far: "198.18.7.2/24"} {
		in(t, ns, "ip", "address", "add", address, "dev", "wire")
		in(t, ns, "ip", "link", "set", "wire", "up")
	}
}
