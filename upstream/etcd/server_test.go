package etcd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"connect-proxy/connectproxy/agenttest"
)

// soon is when what is to happen has happened, on a machine that is busy.
const soon = 20 * time.Second

// server is a real etcd of one member, on loopback.
type server struct {
	t       testing.TB
	o       serverOptions
	process *agenttest.Process
	client  *clientv3.Client // past everything that stands between a Resolver and etcd
	ports   int              // the first of two
	data    string
}

// serverOptions say how a member runs.
type serverOptions struct {
	tls  *agenttest.TLSPaths // nil is http
	name string
	// cluster is every member as etcd wants it, empty for one alone.
	cluster string
	ports   int // zero takes free ones
}

// startServer starts etcd and waits until it answers. The test is skipped where
// there is none.
func startServer(t testing.TB, o serverOptions) *server {
	t.Helper()
	agenttest.SkipShort(t)
	s := launchServer(t, o)
	s.awaitAnswer()
	return s
}

func launchServer(t testing.TB, o serverOptions) *server {
	t.Helper()
	if o.name == "" {
		o.name = "one"
	}
	s := &server{t: t, o: o, ports: o.ports, data: t.TempDir()}
	if s.ports == 0 {
		s.ports = agenttest.FreePorts(t, 2)
	}
	s.start()
	config := clientv3.Config{Endpoints: []string{s.endpoint()}, Logger: zap.NewNop()}
	if o.tls != nil {
		config.TLS = clientTLS(t, *o.tls)
	}
	var err error
	if s.client, err = clientv3.New(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.client.Close() })
	return s
}

func (s *server) scheme() string {
	if s.o.tls != nil {
		return "https"
	}
	return "http"
}

func (s *server) addr() string     { return "127.0.0.1:" + strconv.Itoa(s.ports) }
func (s *server) endpoint() string { return s.scheme() + "://" + s.addr() }
func (s *server) peer() string     { return "http://127.0.0.1:" + strconv.Itoa(s.ports+1) }

func (s *server) start() {
	s.t.Helper()
	path := agenttest.Program(s.t, "etcd")
	cluster := s.o.cluster
	if cluster == "" {
		cluster = s.o.name + "=" + s.peer()
	}
	args := []string{
		"--name", s.o.name, "--data-dir", s.data, "--log-level", "error",
		"--listen-client-urls", s.endpoint(), "--advertise-client-urls", s.endpoint(),
		"--listen-peer-urls", s.peer(), "--initial-advertise-peer-urls", s.peer(),
		"--initial-cluster", cluster, "--heartbeat-interval", "50", "--election-timeout", "500",
		"--unsafe-no-fsync",
	}
	if s.o.tls != nil {
		args = append(args, "--cert-file", s.o.tls.Cert, "--key-file", s.o.tls.Key, "--trusted-ca-file", s.o.tls.CA, "--client-cert-auth")
	}
	s.process = agenttest.StartProcess(s.t, agenttest.ProcessOptions{Path: path, Args: args})
}

func (s *server) awaitAnswer() {
	s.t.Helper()
	agenttest.Eventually(s.t, soon, func() error {
		if !s.process.Running() {
			s.t.Fatal("etcd has ended")
		}
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
		defer cancel()
		_, err := s.client.Get(ctx, "anything")
		return err
	})
}

// kill ends etcd without a word, and what it has on disk stays.
func (s *server) kill() {
	s.t.Helper()
	s.process.Signal(syscall.SIGKILL)
	s.process.Wait(soon)
}

// restart starts it again after kill.
func (s *server) restart() {
	s.t.Helper()
	s.start()
	s.awaitAnswer()
}

const prefix = "/srv/redis/debug"

// put writes a key for each address.
func (s *server) put(addresses ...string) (revision int64) {
	s.t.Helper()
	for _, a := range addresses {
		answer, err := s.client.Put(s.t.Context(), prefix+"/"+a, `{"anything":"goes"}`)
		if err != nil {
			s.t.Fatal(err)
		}
		revision = answer.Header.Revision
	}
	return revision
}

func (s *server) remove(address string) {
	s.t.Helper()
	if _, err := s.client.Delete(s.t.Context(), prefix+"/"+address); err != nil {
		s.t.Fatal(err)
	}
}

// running makes a Resolver and runs it until the test ends, which waits for it.
func running(t testing.TB, o Options) *Resolver {
	t.Helper()
	r := prepare(t, o)
	run(t, r)
	return r
}

// prepare makes a Resolver that is not in doubt for long.
func prepare(t testing.TB, o Options) *Resolver {
	t.Helper()
	if o.Prefix == "" {
		o.Prefix = prefix
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.confirmEvery = 500 * time.Millisecond
	return r
}

func run(t testing.TB, r *Resolver) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
}

// addresses are those of a Resolver's set.
func addresses(r *Resolver) string {
	s, ok := r.Set()
	if !ok {
		return "no set"
	}
	var all []string
	for _, ep := range s.Endpoints {
		all = append(all, ep.Address)
	}
	return strings.Join(all, " ")
}

// awaitAddresses waits for a set of these addresses.
func awaitAddresses(t testing.TB, r *Resolver, want ...string) {
	t.Helper()
	agenttest.Eventually(t, soon, func() error {
		if got := addresses(r); got != strings.Join(want, " ") {
			return fmt.Errorf("instances %q, want %q; %w", got, want, r.Status().Err)
		}
		return nil
	})
}

// awaitError waits until the cluster could not be asked, for a reason with text.
func awaitError(t testing.TB, r *Resolver, text string) {
	t.Helper()
	agenttest.Eventually(t, soon, func() error {
		if err := r.Status().Err; err == nil || !strings.Contains(err.Error(), text) {
			return fmt.Errorf("the error is not one with %q: %w", text, err)
		}
		return nil
	})
}
