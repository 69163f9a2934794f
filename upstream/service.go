package upstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/connectproxy/watch"
)

// ServiceOptions say which service a resolver watches.
type ServiceOptions struct {
	// Client is required.
	Client *api.Client
	// Name is the service's, in any case.
	Name string
	// Namespace, Partition and Datacenter are empty for the agent's own.
	Namespace, Partition, Datacenter string
	// LocalDatacenter returns the agent's datacenter, or "" if it cannot be
	// told before ctx is done. It is asked only for a resolver with a
	// Datacenter; nil takes every Datacenter for a remote one.
	LocalDatacenter func(ctx context.Context) string
	// Filter is an expression that instances must fulfil, in the agent's
	// language; empty means none.
	Filter string
	// Warning takes instances whose checks warn for healthy too, at the
	// weight that they have for it.
	Warning bool
	// Turns is the proxy's; nil means that nobody else asks.
	Turns *Turns
	// Logger may be nil.
	Logger hclog.Logger
}

// errHidden is an answer that the agent keeps from the token.
var errHidden = errors.New("the token may not read any instance any more: it needs service:read on the service and its proxy, node:read")

// verifyEvery is how often the agent is asked to look past its cache while a
// destination is in use.
const verifyEvery = 10 * time.Second

// NewService returns a Resolver for the healthy instances of a service.
//
// It holds no question at the agent. While the service is in use it asks every
// second for what the agent has in its cache, which the agent keeps fresh for
// all proxies on its node by one question of its own. That copy may lag behind
// after an outage, by minutes, and does not say so: so every tenth question, the
// first after a rest and those after a failure go past it, to any server, even
// one that has lost its leader: old endpoints beat none.
func NewService(o ServiceOptions) Resolver { return newService(o, newInterest(o.Turns), nil) }

// newService calls notify, if that is given, after each change.
func newService(o ServiceOptions, i *interest, notify func()) watched {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	s := &service{o: o, interest: i, tell: teller{logger: o.Logger, service: o.Name}}
	return watched{interest: i, w: watch.New(watch.Options[Set]{
		Name:   "endpoints " + o.Name,
		Fetch:  s.fetch,
		Equal:  Set.equal,
		Pace:   func() time.Duration { return i.pace(usePace) },
		Turn:   i.enter(o.Datacenter != ""),
		Notify: notify,
		Logger: o.Logger,
	})}
}

// service is used by the one goroutine that runs its watch.
type service struct {
	o        ServiceOptions
	interest *interest
	tell     teller
	seen     memory
	// verified is when the agent last answered past its cache, zero after a
	// failure; behind is when its cache was last found to be behind that.
	verified, behind time.Time
	index            uint64 // of the last answer
	some             bool   // there were instances in it
}

// ask gets the service's instances as the agent knows them, from its cache
// where that will do.
func (s *service) ask(ctx context.Context) ([]*api.ServiceEntry, *api.QueryMeta, error) {
	q := s.query()
	q.UseCache = s.interest.recent() && time.Since(s.verified) < verifyEvery && time.Since(s.behind) > verifyEvery
	entries, meta, err := s.o.Client.Health().Connect(s.o.Name, "", !s.o.Warning, q.WithContext(ctx))
	// The cache may be behind, and does not say what it hides from the token.
	if err == nil && q.UseCache && (meta.LastIndex < s.index || len(entries) == 0 && s.some) {
		s.behind, q.UseCache = time.Now(), false
		entries, meta, err = s.o.Client.Health().Connect(s.o.Name, "", !s.o.Warning, q.WithContext(ctx))
	}
	switch {
	case err != nil:
		s.verified = time.Time{}
		return nil, nil, err
	case !q.UseCache:
		s.verified = time.Now()
	}
	s.index = meta.LastIndex
	return entries, meta, nil
}

// query is for any server, past the agent's cache.
func (s *service) query() *api.QueryOptions {
	return &api.QueryOptions{
		Namespace:  s.o.Namespace,
		Partition:  s.o.Partition,
		Datacenter: s.o.Datacenter,
		AllowStale: true,
		Filter:     s.o.Filter,
	}
}

// hidden says that there are instances which the token may not read. A question
// for proxies does not: without service:read it looks as if there were none.
func (s *service) hidden(ctx context.Context) bool {
	_, meta, err := s.o.Client.Health().Service(s.o.Name, "", false, s.query().WithContext(ctx))
	return err == nil && meta.ResultsFilteredByACLs
}

func (s *service) fetch(ctx context.Context, _ watch.Cursor, _ time.Duration) (Set, watch.Cursor, error) {
	entries, meta, err := s.ask(ctx)
	if err != nil {
		return Set{}, watch.Cursor{}, err
	}
	judge := s.verdict
	if !s.o.Warning {
		judge = passes // the agent has judged
	}
	if !s.o.Warning && s.seen.misses(entries) {
		// Why one does not pass any more is what counts.
		all, _, err := s.o.Client.Health().Connect(s.o.Name, "", false, s.query().WithContext(ctx))
		if err == nil {
			entries, judge = all, s.verdict
		}
	}
	entries = s.healthy(entries, judge, time.Now())
	set, leftOut := setOf(entries, asked{
		service:    s.o.Name,
		datacenter: s.o.Datacenter,
		remote:     remoteTo(ctx, s.o.Datacenter, s.o.LocalDatacenter),
	}, false)
	set.Filtered = meta.ResultsFilteredByACLs
	if s.some && len(set.Endpoints) == 0 && (set.Filtered || s.hidden(ctx)) {
		return Set{}, watch.Cursor{}, errHidden
	}
	if some := len(set.Endpoints) > 0; some != s.some {
		s.some = some
		s.interest.news()
	}
	s.tell.leftOut(leftOut)
	return set, watch.Cursor{Index: meta.LastIndex}, nil
}

// remoteTo tells which datacenters are not the agent's own. Without a
// datacenter in the question every answer is local.
func remoteTo(ctx context.Context, question string, local func(context.Context) string) func(string) bool {
	if question == "" {
		return func(string) bool { return false }
	}
	own := ""
	if local != nil {
		own = local(ctx)
	}
	return func(datacenter string) bool { return !strings.EqualFold(datacenter, own) }
}

// shownProblems bounds the length of a teller's line.
const shownProblems = 4

// teller logs what a resolver had to leave out, once for each change of it.
type teller struct {
	logger  hclog.Logger
	service string
	told    []string
}

func (t *teller) leftOut(problems []string) {
	if slices.Equal(problems, t.told) {
		return
	}
	t.told = problems
	if more := len(problems) - shownProblems; more > 0 {
		problems = append(slices.Clone(problems[:shownProblems]), fmt.Sprintf("and %d more reasons", more))
	}
	if len(problems) > 0 {
		t.logger.Warn("leaving out instances", "service", t.service, "reason", strings.Join(problems, ", "))
	}
}
