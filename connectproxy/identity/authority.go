package identity

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/upstream/backoff"
	"connect-proxy/upstream/watch"
)

const (
	// authorityTimeout bounds the questions for the leader and for the authority, which
	// servers with a leader answer at once.
	authorityTimeout = time.Second
	// leaderWait is how long an election is waited for: the first of a cluster takes
	// ten seconds at most by default.
	leaderWait = 15 * time.Second
)

var (
	errNoAuthority = errors.New("the cluster has no certificate authority yet")
	errNoLeader    = errors.New("the cluster has no leader yet")
)

// awaitAuthority returns when the servers have a certificate authority, or cannot
// be asked.
//
// A server of Consul 1.2 to 1.5 reads the trust domain before it waits for the
// roots. Asked by an agent while it makes the authority, it gives the roots
// without a trust domain, and the agent keeps that, and issues no leafs, until the
// roots change again or ten minutes have passed. A proxy that an agent launches
// starts at about that time, and one whose agent is back without its data asks
// then. So the servers themselves are asked first, past the agent's cache.
func (i *Identity) awaitAuthority(ctx context.Context) error {
	i.doubtAuthority()
	wait := backoff.Backoff{Min: 20 * time.Millisecond, Max: time.Second}
	for {
		err := i.checkAuthority(ctx)
		if err == nil {
			i.authority.Store(nil)
			return ctx.Err()
		}
		if i.authority.Swap(&err) == nil {
			i.o.Logger.Info("waiting for the cluster's certificate authority", "reason", err)
		}
		if !backoff.Sleep(ctx, wait.Next()) {
			return ctx.Err()
		}
	}
}

// doubtAuthority has the servers be asked whether they have an authority before the
// agent's cache is asked for anything, where the agent may be of Consul 1.5.
func (i *Identity) doubtAuthority() {
	if !i.o.Managed {
		return
	}
	now := time.Now()
	i.doubted.CompareAndSwap(nil, &now)
}

// checkAuthority asks the servers if the agent was out of reach since they last had an
// authority, and returns why there can be no certificates yet. The agent may be back
// before a question for certificates meets that; one that is held met it at once.
func (i *Identity) checkAuthority(ctx context.Context) error {
	if n := i.o.Outages(); i.outages.Swap(n) != n {
		i.doubtAuthority()
	}
	since := i.doubted.Load()
	if since == nil {
		return nil
	}
	err := i.askForAuthority(ctx)
	if !errors.Is(err, errNoAuthority) && time.Since(*since) > leaderWait {
		err = nil
	}
	if err == nil {
		i.doubted.CompareAndSwap(since, nil)
	}
	return err
}

// afterAuthority is fetch from an agent that may have lost its data since it was
// last reached.
func afterAuthority[T any](i *Identity, fetch watch.Fetch[T]) watch.Fetch[T] {
	return func(ctx context.Context, have watch.Cursor, wait time.Duration) (v T, next watch.Cursor, err error) {
		if err = i.checkAuthority(ctx); err != nil {
			return v, next, err
		}
		if v, next, err = fetch(ctx, have, wait); watch.Unreachable(err) {
			i.doubtAuthority()
		}
		return v, next, err
	}
}

// askForAuthority returns nil too where nobody answers, so that the question for a
// certificate fails instead and says why. The leader is asked for first: without one,
// servers hold the other question for seconds, and with it a connection at the agent.
func (i *Identity) askForAuthority(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, authorityTimeout)
	defer cancel()
	q := (&api.QueryOptions{AllowStale: true}).WithContext(ctx)
	switch leader, err := i.o.Client.Status().LeaderWithQueryOptions(q); {
	case watch.Unreachable(err):
		return nil
	case err != nil || leader == "":
		return errNoLeader
	}
	var answer rootsAnswer
	_, err := i.o.Client.Raw().Query("/v1/connect/ca/roots", &answer, q)
	switch {
	case err != nil:
		return watch.Explain(err)
	case answer.TrustDomain == "":
		return errNoAuthority
	}
	return nil
}
