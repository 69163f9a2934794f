package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/testca"
	"connect-proxy/listener/listenertest"
)

// asProgram has the test's own binary be the program.
const asProgram = "ETCD_TEST_AS_PROGRAM=1"

func TestMain(m *testing.M) {
	if name, value, _ := strings.Cut(asProgram, "="); os.Getenv(name) == value {
		main()
	}
	goleak.VerifyTestMain(m)
}

// soon is when what is to happen has happened, on a machine that is busy.
const soon = 30 * time.Second

// prefix is what the keys of the tests begin with.
const prefix = "/srv/redis/debug"

// startProgram runs the program until the test ends.
func startProgram(t *testing.T, args ...string) *agenttest.Process {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return agenttest.StartProcess(t, agenttest.ProcessOptions{Path: path, Args: args, Env: []string{asProgram}})
}

// server is a real etcd on loopback, and a client of it.
type server struct {
	endpoint string
	process  *agenttest.Process
	*clientv3.Client
}

// startServer starts etcd. The test is skipped where there is none.
func startServer(t *testing.T) *server {
	t.Helper()
	agenttest.SkipShort(t)
	path := agenttest.Program(t, "etcd")
	ports := agenttest.FreePorts(t, 2)
	s := &server{endpoint: "http://" + loopback(ports)}
	peer := "http://" + loopback(ports+1)
	s.process = agenttest.StartProcess(t, agenttest.ProcessOptions{Path: path, Args: []string{
		"--name", "one", "--data-dir", t.TempDir(), "--log-level", "error",
		"--listen-client-urls", s.endpoint, "--advertise-client-urls", s.endpoint,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "one=" + peer,
		"--unsafe-no-fsync",
	}})
	var err error
	if s.Client, err = clientv3.New(clientv3.Config{Endpoints: []string{s.endpoint}, Logger: zap.NewNop()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	agenttest.Eventually(t, soon, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.Get(ctx, "anything")
		return err
	})
	return s
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// add writes the key of an instance.
func (s *server) add(t *testing.T, address string) {
	t.Helper()
	if _, err := s.Put(t.Context(), prefix+"/"+address, ""); err != nil {
		t.Fatal(err)
	}
}

// remove removes it.
func (s *server) remove(t *testing.T, address string) {
	t.Helper()
	if _, err := s.Delete(t.Context(), prefix+"/"+address); err != nil {
		t.Fatal(err)
	}
}

// instance is an application behind a tls-server of this program. It says its
// name to everybody.
func instance(t *testing.T, name, certificates string) (address string) {
	t.Helper()
	app := listenertest.NewServer(t, func(c *net.TCPConn) { _, _ = io.WriteString(c, name) })
	address = loopback(agenttest.FreePort(t))
	startProgram(t, "tls-server", "-src", address, "-dst", app.Addr(), "-tlscertpath", certificates, "-verify", "cn:web", "-admin-addr", "off")
	return address
}

// ask returns the name of the instance that a connection to the address leads to.
func ask(address string) (string, error) {
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(soon))
	name, err := io.ReadAll(c)
	if err == nil && len(name) == 0 {
		err = errors.New("the connection ended without a word")
	}
	return string(name), err
}

// awaitName waits until connections lead to the instance of that name.
func awaitName(t *testing.T, address, want string) {
	t.Helper()
	agenttest.Eventually(t, soon, func() error {
		name, err := ask(address)
		if err == nil && name != want {
			err = fmt.Errorf("connections lead to %s, want %s", name, want)
		}
		return err
	})
}

// traffic is connections to an address, one after the other.
type traffic struct {
	served atomic.Int64
	failed atomic.Pointer[error] // the first one
}

// send has traffic flow until the test ends.
func send(t *testing.T, address string) *traffic {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	tr := &traffic{}
	var work sync.WaitGroup
	work.Go(func() {
		for ctx.Err() == nil {
			if _, err := ask(address); err != nil {
				tr.failed.CompareAndSwap(nil, &err)
				return
			}
			tr.served.Add(1)
			select {
			case <-time.After(2 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	t.Cleanup(func() { cancel(); work.Wait() })
	return tr
}

// goesOn waits for further connections to be served, and fails if one was not.
func (tr *traffic) goesOn(t *testing.T) {
	t.Helper()
	want := tr.served.Load() + 20
	agenttest.Eventually(t, soon, func() error {
		if err := tr.failed.Load(); err != nil {
			t.Fatalf("after %d connections: %v", tr.served.Load(), *err)
		}
		if n := tr.served.Load(); n < want {
			return fmt.Errorf("%d connections served, want %d", n, want)
		}
		return nil
	})
}

// printed is the file that the flags come to.
func printed(t *testing.T, args []string) string {
	t.Helper()
	p := startProgram(t, append(args, "-print-config")...)
	if code := p.Wait(soon); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	file := filepath.Join(t.TempDir(), "printed.hcl")
	agenttest.WriteFile(t, file, p.Stdout.String())
	return file
}

func TestAOneLinerFollowsEtcdUnderTrafficAndSoDoesTheFileThatItPrints(t *testing.T) {
	ca := testca.New(t, "ours")
	serverFiles, clientFiles := t.TempDir(), t.TempDir()
	ca.Write(t, serverFiles, ca.Issue(t, []string{"dns:redis.example.org"}))
	ca.Write(t, clientFiles, ca.Issue(t, []string{"cn:web"}))
	s := startServer(t)
	one, two := instance(t, "one", serverFiles), instance(t, "two", serverFiles)
	s.add(t, one)

	var proxies []*agenttest.Process
	var addresses []string
	var flows []*traffic
	for _, as := range []string{"flags", "file"} {
		address := loopback(agenttest.FreePort(t))
		args := []string{"tls-client", "-src", address, "-srv", prefix, "-dsc", s.endpoint, "-tlscertpath", clientFiles, "-verify", "dns:redis.example.org"}
		if as == "file" {
			args = []string{"-config-file", printed(t, args)}
		}
		proxies = append(proxies, startProgram(t, append(args, "-admin-addr", "off")...))
		awaitName(t, address, "one")
		addresses, flows = append(addresses, address), append(flows, send(t, address))
	}
	each := func(name string) {
		t.Helper()
		for i, address := range addresses {
			awaitName(t, address, name)
			flows[i].goesOn(t)
		}
	}

	s.add(t, two)
	s.remove(t, one)
	each("two")
	s.process.Signal(syscall.SIGKILL)
	s.process.Wait(soon)
	for _, p := range proxies {
		p.WaitOutput(soon, "etcd cannot be asked")
	}
	each("two")
}
