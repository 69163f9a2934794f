package identity

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/upstream/backoff"
)

const (
	// authorityTimeout bounds a question to the servers: an agent that has lost them
	// may still have certificates, and is asked for them soon.
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
// starts at about that time. So the servers themselves are asked first, past the
// agent's cache.
func (i *Identity) awaitAuthority(ctx context.Context) error {
	began := time.Now()
	wait := backoff.Backoff{Min: 20 * time.Millisecond, Max: time.Second}
	for {
		err := i.askForAuthority(ctx)
		if err == nil || errors.Is(err, errNoLeader) && time.Since(began) > leaderWait {
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

// askForAuthority returns nil too where the servers cannot be asked. Any server
// will do: one that has been part of the cluster answers without a leader, others
// hold the question until there is one.
func (i *Identity) askForAuthority(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, authorityTimeout)
	defer cancel()
	var answer rootsAnswer
	q := &api.QueryOptions{AllowStale: true}
	_, err := i.o.Client.Raw().Query("/v1/connect/ca/roots", &answer, q.WithContext(asking))
	switch {
	case err != nil && i.leaderless(ctx):
		return errNoLeader
	case err == nil && answer.TrustDomain == "":
		return errNoAuthority
	}
	return nil
}

// leaderless reports whether a server says that it knows of no leader.
func (i *Identity) leaderless(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, authorityTimeout)
	defer cancel()
	leader, err := i.o.Client.Status().LeaderWithQueryOptions((&api.QueryOptions{}).WithContext(ctx))
	return err == nil && leader == ""
}
