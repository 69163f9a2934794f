package etcd

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/upstream"
)

// hostile answers as no etcd does.
type hostile struct {
	pb.UnimplementedKVServer
	pb.UnimplementedWatchServer
	answer func(*pb.RangeRequest) (*pb.RangeResponse, error)
	watch  func(pb.Watch_WatchServer) error
}

func (h *hostile) Range(_ context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	return h.answer(r)
}

func (h *hostile) Watch(s pb.Watch_WatchServer) error { return h.watch(s) }

// one is the answer of an etcd that has one instance.
func one(*pb.RangeRequest) (*pb.RangeResponse, error) {
	return &pb.RangeResponse{
		Header: &pb.ResponseHeader{Revision: 10},
		Kvs:    []*mvccpb.KeyValue{{Key: []byte(prefix + "/10.0.0.1:1"), ModRevision: 9}},
		Count:  1,
	}, nil
}

// silent watches and says nothing.
func silent(s pb.Watch_WatchServer) error {
	<-s.Context().Done()
	return s.Context().Err()
}

// startHostile serves h until the test ends, and returns its endpoint.
func startHostile(t testing.TB, h *hostile) string {
	t.Helper()
	if h.answer == nil {
		h.answer = one
	}
	if h.watch == nil {
		h.watch = silent
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.MaxSendMsgSize(64<<20), grpc.MaxRecvMsgSize(64<<20))
	pb.RegisterKVServer(s, h)
	pb.RegisterWatchServer(s, h)
	served := make(chan struct{})
	go func() { defer close(served); _ = s.Serve(ln) }()
	t.Cleanup(func() { s.Stop(); <-served })
	return "http://" + ln.Addr().String()
}

// begin takes the request for a watch and says that there is one.
func begin(s pb.Watch_WatchServer) error {
	if _, err := s.Recv(); err != nil {
		return err
	}
	return s.Send(&pb.WatchResponse{Header: &pb.ResponseHeader{Revision: 10}, Created: true, WatchId: 1})
}

// put is the event of a key that was written.
func put(revision int64, address string) *mvccpb.Event {
	return &mvccpb.Event{Kv: &mvccpb.KeyValue{Key: []byte(prefix + "/" + address), ModRevision: revision}}
}

func TestAnswersThatNoEtcdGivesEndTheSessionAlone(t *testing.T) {
	t.Parallel()
	header := &pb.ResponseHeader{Revision: 11}
	watching := func(answers ...*pb.WatchResponse) *hostile {
		return &hostile{watch: func(s pb.Watch_WatchServer) error {
			if err := begin(s); err != nil {
				return err
			}
			for _, a := range answers {
				if err := s.Send(a); err != nil {
					return err
				}
			}
			return silent(s)
		}}
	}
	ended := &pb.WatchResponse{Header: header, WatchId: 1, Canceled: true, CancelReason: "no more"}
	for name, c := range map[string]struct {
		h    *hostile
		want string
	}{
		"a watch that ends again and again": {watching(slices.Repeat([]*pb.WatchResponse{ended}, 50)...), "no more"},
		"a watch of a revision to come":     {watching(&pb.WatchResponse{WatchId: 1, Canceled: true}), "future revision"},
		"an event without a key":            {watching(&pb.WatchResponse{Header: header, WatchId: 1, Events: []*mvccpb.Event{{}}}), errNotEtcds.Error()},
		"no header":                         {&hostile{answer: func(*pb.RangeRequest) (*pb.RangeResponse, error) { return &pb.RangeResponse{}, nil }}, errNotEtcds.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			awaitError(t, running(t, Options{Endpoints: []string{startHostile(t, c.h)}}), c.want)
		})
	}
}

func TestAnAnswerOfMoreThanWasAskedForIsCut(t *testing.T) {
	t.Parallel()
	var log lines
	endpoint := startHostile(t, &hostile{answer: func(*pb.RangeRequest) (*pb.RangeResponse, error) {
		answer := &pb.RangeResponse{Header: &pb.ResponseHeader{Revision: 10}}
		for i := range 50_000 {
			answer.Kvs = append(answer.Kvs, &mvccpb.KeyValue{Key: fmt.Appendf(nil, "%s/10.0.0.%05d:1", prefix, i)})
		}
		return answer, nil
	}})
	r := running(t, Options{Endpoints: []string{endpoint}, MaxInstances: 2, Logger: log.logger()})
	awaitAddresses(t, r, "10.0.0.00000:1", "10.0.0.00001:1")
	agenttest.Eventually(t, soon, func() error { return wantCount(&log, "more instances than are used", 1) })
}

func TestOneRevisionMayComeInFragments(t *testing.T) {
	t.Parallel()
	r := running(t, Options{Endpoints: []string{startHostile(t, &hostile{watch: func(s pb.Watch_WatchServer) error {
		if err := begin(s); err != nil {
			return err
		}
		for i, a := range []string{"10.0.0.2:1", "10.0.0.3:1"} {
			if err := s.Send(&pb.WatchResponse{WatchId: 1, Fragment: i == 0, Events: []*mvccpb.Event{put(11, a)}}); err != nil {
				return err
			}
		}
		return silent(s)
	}})}})
	awaitAddresses(t, r, "10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1")
}

func TestAFloodOfChangesIsGatheredAndNoneIsKeptForLater(t *testing.T) {
	t.Parallel()
	const flood = 20_000
	var sent, sets atomic.Int64
	begun, release := make(chan struct{}), make(chan struct{})
	h := &hostile{watch: func(s pb.Watch_WatchServer) error {
		if err := begin(s); err != nil {
			return err
		}
		<-begun
		for i := range int64(flood) {
			e := put(11+i, fmt.Sprintf("10.0.0.%d:1", 1+i%3))
			e.Kv.Value = make([]byte, 1<<10)
			if err := s.Send(&pb.WatchResponse{WatchId: 1, Events: []*mvccpb.Event{e}}); err != nil {
				return err
			}
			sent.Add(1)
		}
		return silent(s)
	}}
	var asked atomic.Int64
	h.answer = func(q *pb.RangeRequest) (*pb.RangeResponse, error) {
		if asked.Add(1) == 2 { // the confirmation of the first reading is slow
			close(begun)
			<-release
		}
		answer, err := one(q)
		answer.Header.Revision += sent.Load() + 1 // one may be on its way
		return answer, err
	}
	r := prepare(t, Options{Endpoints: []string{startHostile(t, h)}, Timeout: time.Minute, Identity: func(string) upstream.Identity {
		sets.Add(1)
		return upstream.Identity{}
	}})
	run(t, r)
	<-begun
	var last int64
	agenttest.Eventually(t, soon, func() error {
		now := sent.Load()
		defer func() { last = now }()
		if now == 0 || now != last {
			return fmt.Errorf("%d changes were sent, and more come", now)
		}
		return nil
	})
	if last == flood {
		t.Errorf("all %d changes were received while nobody took them", flood)
	}
	close(release)
	agenttest.Eventually(t, soon, func() error {
		if n := sent.Load(); n < flood {
			return fmt.Errorf("%d changes were sent", n)
		}
		return nil
	})
	if n := sets.Load(); n > flood/4 {
		t.Errorf("%d instances were looked at for %d changes", n, flood)
	}
}

func TestWhatAServerSaysOfAnErrorIsOneShortLine(t *testing.T) {
	t.Parallel()
	endpoint := startHostile(t, &hostile{answer: func(*pb.RangeRequest) (*pb.RangeResponse, error) {
		return nil, status.Error(codes.Internal, "one\n[ERROR] two\x1b[31m"+strings.Repeat("x", 1<<16))
	}})
	r := running(t, Options{Endpoints: []string{endpoint}})
	awaitError(t, r, "one [ERROR] two [31m")
	if text := r.Status().Err.Error(); len(text) > 2*maxShown {
		t.Errorf("%d bytes are shown", len(text))
	}
}
