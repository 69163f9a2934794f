package etcd

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

const (
	// defaultConfirmEvery is Resolver.confirmEvery but in tests. A watch that waits
	// for a cluster says nothing, and neither does one of a revision that is yet to
	// come, which is what a restored cluster makes of it.
	defaultConfirmEvery = 15 * time.Second
	// aliveAfter is how long a connection to a member may be quiet until it is asked
	// for a sign of life, which has aliveTimeout to come.
	aliveAfter   = 10 * time.Second
	aliveTimeout = 5 * time.Second
	// maxAnswer bounds an answer, in bytes: twice what etcd takes in one request.
	maxAnswer = 4 << 20
	// gather is how long changes are waited for that come together with another, and
	// gatherForReading the same where the keys are read again after them.
	gather           = 50 * time.Millisecond
	gatherForReading = time.Second
	// tries is how often each member is asked before a question has failed.
	tries = 2
)

// errReadAnew ends a session that cannot go on and does not mean that the cluster
// fails.
var errReadAnew = errors.New("what was known is not a part of etcd's history")

// session follows the keys by one client, from a first reading to the first
// failure.
func (r *Resolver) session(ctx context.Context) error {
	client, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	now, err := r.read(ctx, client)
	if err != nil {
		return err
	}
	r.found(now)
	// A member without a leader hears of nothing: its watches end, and another one
	// is asked.
	watching, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	changes, ended := make(chan change), make(chan struct{})
	go func() {
		defer close(ended)
		r.watch(watching, client, now.revision, changes)
	}()
	defer func() { cancel(); <-ended }()
	return r.follow(ctx, client, now, changes)
}

// follow keeps the set as the keys are, until it cannot. Those of changes that come
// together are one change of the set.
func (r *Resolver) follow(ctx context.Context, client *clientv3.Client, now listing, changes <-chan change) error {
	confirm := time.NewTimer(r.untilConfirmed())
	defer confirm.Stop()
	var gathered <-chan time.Time // nil while nothing has changed
	for {
		again := false
		select {
		case c := <-changes:
			if c.err != nil {
				return c.err
			}
			r.apply(&now, c.events)
			if gathered == nil && len(c.events) > 0 {
				gathered = time.After(r.gatherTime(now))
			}
			continue
		case <-gathered:
			again = now.partial
		case <-confirm.C:
			again = true
		case <-ctx.Done():
			return ctx.Err()
		}
		gathered = nil
		if again {
			latest, err := r.read(ctx, client)
			if err != nil {
				return err
			}
			if latest.revision < now.revision {
				return fmt.Errorf("%w: revision %d came after %d", errReadAnew, latest.revision, now.revision)
			}
			now = latest
			confirm.Reset(r.untilConfirmed())
		}
		r.found(now)
	}
}

// gatherTime is for how long changes are gathered: longer where the keys are read
// again after them, which costs the cluster something.
func (r *Resolver) gatherTime(now listing) time.Duration {
	if now.partial {
		return gatherForReading
	}
	return gather
}

// untilConfirmed spreads the questions of proxies that started together.
func (r *Resolver) untilConfirmed() time.Duration {
	return r.confirmEvery*3/4 + rand.N(r.confirmEvery/2)
}

// below is what the keys of instances begin with.
func (r *Resolver) below() string { return r.o.Prefix + "/" }

// connect makes a client. Where there is a user this asks the cluster who it is.
func (r *Resolver) connect(ctx context.Context) (*clientv3.Client, error) {
	var secured *tls.Config
	if r.o.TLS != nil {
		var err error
		if secured, err = r.o.TLS(); err != nil {
			return nil, err
		}
	}
	var password string
	if r.o.Password != nil {
		var err error
		if password, err = r.o.Password(); err != nil {
			return nil, err
		}
	}
	return clientv3.New(clientv3.Config{
		Context:              ctx,
		Endpoints:            r.o.Endpoints,
		TLS:                  secured,
		Username:             r.o.Username,
		Password:             password,
		DialTimeout:          r.o.Timeout,
		DialKeepAliveTime:    aliveAfter,
		DialKeepAliveTimeout: aliveTimeout,
		MaxCallRecvMsgSize:   maxAnswer,
		MaxUnaryRetries:      uint(tries * len(r.o.Endpoints)),
		Logger:               zap.NewNop(),
		DialOptions:          []grpc.DialOption{grpc.WithChainUnaryInterceptor(failFast)},
	})
}

// failFast has a question fail when no member can be reached, with the reason. The
// client would wait, and say of the reason only that time was up.
func failFast(ctx context.Context, method string, req, reply any, on *grpc.ClientConn, ask grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return ask(ctx, method, req, reply, on, append(opts, grpc.WaitForReady(false))...)
}

// read asks for all keys below the prefix.
func (r *Resolver) read(ctx context.Context, client *clientv3.Client) (listing, error) {
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	answer, err := client.Get(ctx, r.below(), clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(int64(r.o.MaxInstances)))
	if err != nil {
		return listing{}, err
	}
	if answer.Header == nil {
		return listing{}, fmt.Errorf("%w: it has no revision", errNotEtcds)
	}
	keys := answer.Kvs[:min(len(answer.Kvs), r.o.MaxInstances)]
	l := listing{
		read: answer.Header.Revision, revision: answer.Header.Revision, addresses: make(map[string]bool, len(keys)),
		partial: answer.More || len(keys) < len(answer.Kvs),
	}
	for _, kv := range keys {
		l.addresses[r.rest(kv)] = true
	}
	return l, nil
}

// apply has a listing follow what has happened since it was read.
func (r *Resolver) apply(to *listing, events []*mvccpb.Event) {
	for _, e := range events {
		if e.Kv.ModRevision <= to.read {
			continue
		}
		to.revision = max(to.revision, e.Kv.ModRevision)
		switch address := r.rest(e.Kv); {
		case e.Type == mvccpb.Event_DELETE:
			delete(to.addresses, address)
		case len(to.addresses) >= r.o.MaxInstances && !to.addresses[address]:
			to.partial = true
		default:
			to.addresses[address] = true
		}
	}
}

// rest is a key without the prefix. Of one that is too long for an instance it is
// no more than shows that: keys of a megabyte each would be kept otherwise.
func (r *Resolver) rest(kv *mvccpb.KeyValue) string {
	rest := bytes.TrimPrefix(kv.Key, []byte(r.below()))
	return string(rest[:min(len(rest), maxAddress+1)])
}
