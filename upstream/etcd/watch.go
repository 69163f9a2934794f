package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// change is what a watch has to say: events, or why there are no more.
type change struct {
	events []*mvccpb.Event
	err    error
}

// watch sends what happens to the keys below the prefix after a revision, and the
// error that ends it last, until ctx is done. Nothing is received while nobody takes
// what was: the client's own Watch would keep all of it, and it panics at an answer
// that lacks what etcd's never do.
func (r *Resolver) watch(ctx context.Context, client *clientv3.Client, after int64, to chan<- change) {
	receive := func() ([]*mvccpb.Event, error) { return nil, nil }
	stream, err := etcdserverpb.NewWatchClient(client.ActiveConnection()).Watch(ctx, grpc.MaxCallRecvMsgSize(maxAnswer))
	if err == nil {
		err = stream.Send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{
			CreateRequest: &etcdserverpb.WatchCreateRequest{
				Key: []byte(r.below()), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(r.below())),
				StartRevision: after + 1, Fragment: true,
			},
		}})
		receive = func() ([]*mvccpb.Event, error) { return eventsOf(stream.Recv()) }
	}
	for {
		var c change
		if c.err = err; err == nil {
			c.events, c.err = receive()
		}
		select {
		case to <- c:
		case <-ctx.Done():
			return
		}
		if c.err != nil {
			return
		}
	}
}

var errNotEtcds = errors.New("the answer is none of etcd's")

// eventsOf are those of an answer to a watch, or what it says in their place.
func eventsOf(answer *etcdserverpb.WatchResponse, err error) ([]*mvccpb.Event, error) {
	switch {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w: the watch has ended", errReadAnew)
	case err != nil:
		return nil, streamError(err)
	case answer.CompactRevision != 0:
		return nil, fmt.Errorf("%w: %w", errReadAnew, rpctypes.ErrCompacted)
	case answer.Canceled && answer.CancelReason == "":
		return nil, rpctypes.ErrFutureRev
	case answer.Canceled:
		return nil, rpctypes.Error(status.Error(codes.FailedPrecondition, answer.CancelReason))
	}
	for _, e := range answer.Events {
		if e.Kv == nil {
			return nil, fmt.Errorf("%w: an event without a key", errNotEtcds)
		}
	}
	return answer.Events, nil
}

// streamError is what the failure of a stream means. A member that is gone is no
// failure of the cluster: the next reading asks another one.
func streamError(err error) error {
	known := rpctypes.Error(err)
	if _, etcds := errors.AsType[rpctypes.EtcdError](known); !etcds && status.Code(err) == codes.Unavailable {
		return fmt.Errorf("%w: %w", errReadAnew, plainError{err})
	}
	return known
}
