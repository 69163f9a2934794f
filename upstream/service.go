package upstream

import (
	"context"
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
	// Logger may be nil.
	Logger hclog.Logger
}

// NewService returns a Resolver for the healthy instances of a service.
//
// It asks by a blocking query that any server may answer, even one that has
// lost its leader: old endpoints beat none. It does not ask for the agent's own
// cache: that keeps a second copy with an age of its own, and whether it streams
// or polls depends on the agent's version and settings, while one blocking query
// is the same for all of them.
func NewService(o ServiceOptions) Resolver {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	s := &service{o: o, tell: teller{logger: o.Logger, service: o.Name}}
	return watched{watch.New(watch.Options[Set]{
		Name:   "endpoints " + o.Name,
		Fetch:  s.fetch,
		Equal:  Set.equal,
		Logger: o.Logger,
	})}
}

// service is used by the one goroutine that runs its watch.
type service struct {
	o    ServiceOptions
	tell teller
	seen memory
}

func (s *service) fetch(ctx context.Context, cur watch.Cursor, wait time.Duration) (Set, watch.Cursor, error) {
	q := &api.QueryOptions{
		Namespace:  s.o.Namespace,
		Partition:  s.o.Partition,
		Datacenter: s.o.Datacenter,
		AllowStale: true,
		Filter:     s.o.Filter,
		WaitIndex:  cur.Index,
		WaitTime:   wait,
	}
	entries, meta, err := s.o.Client.Health().Connect(s.o.Name, "", !s.o.Warning, q.WithContext(ctx))
	if err != nil {
		return Set{}, watch.Cursor{}, err
	}
	judge := s.verdict
	if !s.o.Warning {
		judge = passes // the agent has judged
	}
	if !s.o.Warning && s.seen.misses(entries) {
		// Why one does not pass any more is what counts.
		q.WaitIndex, q.WaitTime = 0, 0
		all, _, err := s.o.Client.Health().Connect(s.o.Name, "", false, q.WithContext(ctx))
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
