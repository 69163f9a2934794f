package static

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/connectproxy/allowlist"
	"connect-proxy/connectproxy/authorize"
	"connect-proxy/listener"
)

// Authorizer lets those call whose names are in a list, and nobody else. It is
// safe for concurrent use.
type Authorizer struct {
	list   *allowlist.List
	logger hclog.Logger

	mu    sync.Mutex // guards peers
	peers []authorize.Peers
}

// NewAuthorizer makes an Authorizer of patterns, whose form package allowlist
// has, and starts nothing. Without a pattern nobody may call; where one of them is
// wrong neither, and that is logged. logger may be nil.
func NewAuthorizer(patterns []string, logger hclog.Logger) *Authorizer {
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	list, err := allowlist.Parse(patterns)
	if err != nil {
		logger.Error("nobody may call: the list of those who may is wrong", "error", err)
	}
	return &Authorizer{list: list, logger: logger}
}

// Watch adds connections that Run ends where their peer is not allowed, and that
// Decisions lists. It is called before Run.
func (a *Authorizer) Watch(p authorize.Peers) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.peers = append(a.peers, p)
}

func (a *Authorizer) watchedPeers() []authorize.Peers {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.peers)
}

// Run ends the open connections of peers that are not allowed, with
// listener.ReasonIntentionRevoked, then waits until ctx is done and returns its
// error. The list of an Authorizer does not change: for another list the engine
// makes another Authorizer.
func (a *Authorizer) Run(ctx context.Context) error {
	n := 0
	for _, p := range a.watchedPeers() {
		n += p.ClosePeers(func(peer string) bool { return !a.allows(peer) }, listener.ReasonIntentionRevoked)
	}
	if n > 0 {
		a.logger.Info("connections cut that the list of callers does not allow", "connections", n)
	}
	<-ctx.Done()
	return ctx.Err()
}

func (a *Authorizer) allows(peer string) bool {
	_, ok := a.list.AllowsText(peer)
	return ok
}

// Authorize judges a session by its peer, resumed or not. It asks nobody and never
// blocks. Its error is a *listener.Denied.
func (a *Authorizer) Authorize(_ context.Context, s listener.Session) error {
	if !a.allows(s.Peer) {
		return &listener.Denied{Reason: a.Reason(s.Peer)}
	}
	return nil
}

// Reason says in words which pattern allows a peer, or that none does.
func (a *Authorizer) Reason(peer string) string {
	if by, ok := a.list.AllowsText(peer); ok {
		return fmt.Sprintf("allowed by %q", by)
	}
	return "no pattern of allow matches"
}

// Decisions returns those about whoever is connected, anew for each call.
func (a *Authorizer) Decisions() []authorize.Decision {
	var all []authorize.Decision
	for _, p := range a.watchedPeers() {
		for _, peer := range p.Peers() {
			all = append(all, authorize.Decision{Peer: peer, Known: true, Allowed: a.allows(peer), Reason: a.Reason(peer)})
		}
	}
	return all
}

// Status returns a snapshot: Identities counts the connected peers.
func (a *Authorizer) Status() authorize.Status {
	return authorize.Status{Identities: len(a.Decisions())}
}
