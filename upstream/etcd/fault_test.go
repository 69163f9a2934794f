package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/listener/listenertest"
	"connect-proxy/upstream"
)

// traffic is connections to the instances of a Resolver, one after the other.
type traffic struct {
	served atomic.Int64
	failed atomic.Pointer[error] // the first one
	stop   func()
}

// send has traffic flow until the test ends.
func send(t *testing.T, r *Resolver) *traffic {
	t.Helper()
	u, err := upstream.New(upstream.Options{
		Name: "redis", Resolver: r,
		Dial: func(ctx context.Context, ep upstream.Endpoint) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", ep.Address)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	tr := &traffic{stop: func() { cancel(); work.Wait(); u.Close() }}
	work.Go(func() {
		for ctx.Err() == nil {
			if err := request(ctx, u); err != nil && ctx.Err() == nil {
				tr.failed.CompareAndSwap(nil, &err)
				return
			}
			tr.served.Add(1)
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	t.Cleanup(tr.stop)
	return tr
}

// request is a word and its echo.
func request(ctx context.Context, u *upstream.Upstream) error {
	c, err := u.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	defer c.Close()
	if _, err := io.WriteString(c, "ping"); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 4))
	return err
}

// goesOn waits for further requests to be served.
func (tr *traffic) goesOn(t *testing.T) {
	t.Helper()
	want := tr.served.Load() + 50
	agenttest.Eventually(t, soon, func() error {
		if err := tr.failed.Load(); err != nil {
			t.Fatalf("after %d requests: %v", tr.served.Load(), *err)
		}
		if n := tr.served.Load(); n < want {
			return fmt.Errorf("%d requests served, want %d", n, want)
		}
		return nil
	})
}

func sorted(addresses ...string) []string {
	slices.Sort(addresses)
	return addresses
}

func TestTrafficGoesOnWhileEtcdIsKilledAndCutOff(t *testing.T) {
	t.Parallel()
	s := startServer(t, serverOptions{})
	g := newGate(t, s.addr())
	a, b := listenertest.NewEcho(t).Addr(), listenertest.NewEcho(t).Addr()
	s.put(a)
	var log lines
	r := running(t, Options{Endpoints: []string{g.endpoint()}, Timeout: 500 * time.Millisecond, Logger: log.logger()})
	tr := send(t, r)
	tr.goesOn(t)

	s.kill()
	awaitError(t, r, "etcd at "+g.endpoint())
	tr.goesOn(t)
	awaitAddresses(t, r, a)
	s.restart()
	s.put(b)
	awaitAddresses(t, r, sorted(a, b)...)
	tr.goesOn(t)

	g.hold()
	s.remove(a)
	awaitError(t, r, "did not answer within 500ms")
	tr.goesOn(t)
	awaitAddresses(t, r, sorted(a, b)...)
	g.pass()
	awaitAddresses(t, r, b)
	tr.goesOn(t)
	if s := r.Status(); s.Err != nil || s.Failures != 0 || time.Since(s.Fresh) > soon {
		t.Errorf("after everything: %+v", s)
	}
	if n := log.Count("etcd cannot be asked"); n != 1 {
		t.Errorf("%d warnings within a minute, want 1", n)
	}
	if n := log.Count("etcd answers again"); n < 2 {
		t.Errorf("%d lines say that etcd answers again, it did twice", n)
	}
}

func TestWhatWasCompactedAwayMeanwhileIsReadAnew(t *testing.T) {
	t.Parallel()
	s := startServer(t, serverOptions{})
	g := newGate(t, s.addr())
	a, b := listenertest.NewEcho(t).Addr(), listenertest.NewEcho(t).Addr()
	s.put(a, "10.0.0.1:1")
	var log lines
	r := prepare(t, Options{Endpoints: []string{g.endpoint()}, Logger: log.logger()})
	r.confirmEvery = time.Hour // only the watch can tell
	run(t, r)
	awaitAddresses(t, r, sorted(a, "10.0.0.1:1")...)
	s.remove("10.0.0.1:1")
	awaitAddresses(t, r, a)
	tr := send(t, r)

	g.refuse()
	s.put(b)
	s.remove(a)
	latest := s.put(a)
	if _, err := s.client.Compact(t.Context(), latest, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	tr.goesOn(t)
	g.leadTo(s.addr())
	awaitAddresses(t, r, sorted(a, b)...)
	tr.goesOn(t)
	// That nobody answers for a while is one, where the machine is slow.
	if n := log.Count("[WARN]") - log.Count("etcd cannot be asked"); n != 0 || log.Count("compacted") != 0 {
		t.Errorf("a compaction is no trouble, and there are %d warnings of others", n)
	}
}

func TestAClusterThatBeganAnewIsFollowed(t *testing.T) {
	t.Parallel()
	old, restored := startServer(t, serverOptions{}), startServer(t, serverOptions{})
	for range 20 {
		old.put("10.0.0.1:1") // revisions that the other one has not had
	}
	restored.put("10.0.0.2:1")
	g := newGate(t, old.addr())
	r := running(t, Options{Endpoints: []string{g.endpoint()}})
	awaitAddresses(t, r, "10.0.0.1:1")
	g.leadTo(restored.addr())
	awaitAddresses(t, r, "10.0.0.2:1")
	restored.put("10.0.0.3:1")
	awaitAddresses(t, r, "10.0.0.2:1", "10.0.0.3:1")
}

func TestAMemberMayGoAndAClusterWithoutALeaderChangesNothing(t *testing.T) {
	t.Parallel()
	agenttest.SkipShort(t)
	ports := agenttest.FreePorts(t, 6)
	var all []string
	for i := range 3 {
		all = append(all, fmt.Sprintf("m%d=http://127.0.0.1:%d", i, ports+2*i+1))
	}
	var members []*server
	var endpoints []string
	for i := range 3 {
		m := launchServer(t, serverOptions{name: fmt.Sprintf("m%d", i), cluster: strings.Join(all, ","), ports: ports + 2*i})
		members, endpoints = append(members, m), append(endpoints, m.endpoint())
	}
	for _, m := range members {
		m.awaitAnswer()
	}
	members[0].put("10.0.0.1:1")
	r := running(t, Options{Endpoints: endpoints, Timeout: 2 * time.Second})
	awaitAddresses(t, r, "10.0.0.1:1")

	members[0].kill()
	members[1].awaitAnswer() // there is a leader again
	members[1].put("10.0.0.2:1")
	awaitAddresses(t, r, "10.0.0.1:1", "10.0.0.2:1")

	members[1].kill()
	awaitError(t, r, "etcd at "+strings.Join(endpoints, ", "))
	awaitAddresses(t, r, "10.0.0.1:1", "10.0.0.2:1")
	members[1].restart()
	members[2].remove("10.0.0.1:1")
	awaitAddresses(t, r, "10.0.0.2:1")
}

func TestRunEndsAtOnceWhileEtcdHangs(t *testing.T) {
	t.Parallel()
	s := startServer(t, serverOptions{})
	g := newGate(t, s.addr())
	g.hold()
	r := prepare(t, Options{Endpoints: []string{g.endpoint()}, Timeout: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := r.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if took := time.Since(began); took > soon/2 {
		t.Errorf("it took %s", took)
	}
}
