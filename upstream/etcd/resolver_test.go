package etcd

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/listener/listenertest"
)

// lines is a log to look at.
type lines struct{ agenttest.Log }

func (l *lines) logger() hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: l})
}

func TestTheInstancesAreTheKeysBelowThePrefix(t *testing.T) {
	t.Parallel()
	s := startServer(t, serverOptions{})
	s.put("10.0.1.134:6379", "[fd00::1]:6379")
	for _, other := range []string{prefix, prefix + "2/10.0.9.9:1", "/srv/redis"} {
		if _, err := s.client.Put(t.Context(), other, "x"); err != nil {
			t.Fatal(err)
		}
	}
	r := running(t, Options{Endpoints: []string{s.endpoint()}, Prefix: prefix + "/"})
	awaitAddresses(t, r, "10.0.1.134:6379", "[fd00::1]:6379")
	s.put("redis-7.example:6379")
	awaitAddresses(t, r, "10.0.1.134:6379", "[fd00::1]:6379", "redis-7.example:6379")
	s.remove("[fd00::1]:6379")
	awaitAddresses(t, r, "10.0.1.134:6379", "redis-7.example:6379")

	lease, err := s.client.Grant(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Put(t.Context(), prefix+"/10.0.1.1:1", "", clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	awaitAddresses(t, r, "10.0.1.134:6379", "10.0.1.1:1", "redis-7.example:6379")
	awaitAddresses(t, r, "10.0.1.134:6379", "redis-7.example:6379") // nobody keeps the lease

	if _, err := s.client.Delete(t.Context(), prefix+"/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	awaitAddresses(t, r)
	if set, _ := r.Set(); set.Reason != "etcd has no key below "+prefix {
		t.Errorf("the reason for no instance is %q", set.Reason)
	}
}

func TestAKeyThatIsNoInstanceIsNamedOnceAndHarmsNoOther(t *testing.T) {
	t.Parallel()
	s := startServer(t, serverOptions{})
	s.put("10.0.1.134:6379", "10.0.1.135", "sub/10.0.1.136:1", "host:0", strings.Repeat("x", 1000))
	var log lines
	r := running(t, Options{Endpoints: []string{s.endpoint()}, Logger: log.logger()})
	awaitAddresses(t, r, "10.0.1.134:6379")
	s.put("10.0.1.135", "10.0.1.137:1")
	awaitAddresses(t, r, "10.0.1.134:6379", "10.0.1.137:1")
	if n := log.Count("a key in etcd is no instance"); n != 4 {
		t.Errorf("%d lines about 4 keys", n)
	}
	if log.Count(strings.Repeat("x", shownKey+1)) > 0 {
		t.Error("a long key is shown in full")
	}
	for i := range 2 * maxMalformed {
		s.put("no-port-" + strings.Repeat("y", i))
	}
	agenttest.Eventually(t, soon, func() error { return wantCount(&log, "further keys that are no instances", 1) })
	if n := log.Count("a key in etcd is no instance"); n != maxMalformed {
		t.Errorf("%d keys are named, the limit is %d", n, maxMalformed)
	}
}

func TestOfTooManyInstancesTheFirstAreUsed(t *testing.T) {
	t.Parallel()
	s := startServer(t, serverOptions{})
	s.put("10.0.0.1:1", "10.0.0.2:1")
	var log lines
	r := running(t, Options{Endpoints: []string{s.endpoint()}, MaxInstances: 2, Logger: log.logger()})
	awaitAddresses(t, r, "10.0.0.1:1", "10.0.0.2:1")
	s.put("10.0.0.3:1", "10.0.0.4:1")
	agenttest.Eventually(t, soon, func() error { return wantCount(&log, "etcd has more instances than are used", 1) })
	s.remove("10.0.0.1:1")
	awaitAddresses(t, r, "10.0.0.2:1", "10.0.0.3:1")
	if err := wantCount(&log, "etcd has more instances than are used", 1); err != nil {
		t.Error(err)
	}
}

func TestNothingOfTheClientOutlivesRun(t *testing.T) {
	s := startServer(t, serverOptions{})
	s.put("10.0.0.1:1")
	before, open := goleak.IgnoreCurrent(), len(listenertest.Descriptors())
	t.Run("", func(t *testing.T) {
		r := running(t, Options{Endpoints: []string{s.endpoint()}})
		awaitAddresses(t, r, "10.0.0.1:1")
		nobody := running(t, Options{Endpoints: []string{"http://127.0.0.1:1"}})
		awaitError(t, nobody, "connection refused")
	})
	goleak.VerifyNone(t, before)
	agenttest.Eventually(t, soon, func() error {
		if n := len(listenertest.Descriptors()); n > open {
			return fmt.Errorf("%d descriptors, there were %d", n, open)
		}
		return nil
	})
}

func TestNewStartsNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	r, err := New(Options{Endpoints: []string{"http://127.0.0.1:1"}, Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := r.Set(); ok {
		t.Error("there is a set")
	}
	goleak.VerifyNone(t, before, goleak.IgnoreTopFunction("testing.(*T).Run"))
}

func TestAnEtcdThatIsNotThereIsSaidOnceAMinute(t *testing.T) {
	t.Parallel()
	agenttest.SkipShort(t)
	var log lines
	r := running(t, Options{Endpoints: []string{"http://127.0.0.1:1"}, Timeout: 200 * time.Millisecond, Logger: log.logger()})
	agenttest.Eventually(t, soon, func() error {
		if r.Status().Failures < 4 {
			return errTooEarly
		}
		return nil
	})
	if err := wantCount(&log, "etcd cannot be asked", 1); err != nil {
		t.Error(err)
	}
	if log.Count("etcd at http://127.0.0.1:1") != 1 || log.Count("connection refused") != 1 || log.Count("rpc error") != 0 {
		t.Errorf("the line does not say which and why:\n%s", log.String())
	}
}

var errTooEarly = errors.New("too early")

func wantCount(l *lines, text string, want int) error {
	if n := l.Count(text); n != want {
		return fmt.Errorf("%d lines with %q, want %d", n, text, want)
	}
	return nil
}

func TestOfAHugeKeyLittleIsKept(t *testing.T) {
	t.Parallel()
	r := prepare(t, Options{Endpoints: []string{"http://127.0.0.1:1"}})
	l := listing{addresses: make(map[string]bool)}
	for i, key := range []string{strings.Repeat("x", 1<<20), "host:" + strings.Repeat("0", 1<<20) + "80", strings.Repeat("h", 1<<20) + ":80"} {
		r.apply(&l, []*mvccpb.Event{{Kv: &mvccpb.KeyValue{Key: []byte(prefix + "/" + key), ModRevision: int64(i + 1)}}})
	}
	r.found(l)
	if len(l.addresses) != 3 || len(r.malformed) != 3 {
		t.Errorf("%d keys are known, %d as no instances", len(l.addresses), len(r.malformed))
	}
	for _, kept := range []map[string]bool{l.addresses, r.malformed} {
		for a := range kept {
			if len(a) > 1000 {
				t.Errorf("%d bytes of a key are kept", len(a))
			}
		}
	}
}
