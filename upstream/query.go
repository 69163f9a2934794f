package upstream

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/connectproxy/watch"
)

// DefaultPoll is how often a prepared query in use is executed. Agents can
// neither block on one nor answer it from memory, so that is done a little less
// often than services are asked for.
const DefaultPoll = 1500 * time.Millisecond

// explainEvery is how often a query's definition is read again.
const explainEvery = time.Minute

// QueryOptions say which prepared query a resolver executes.
type QueryOptions struct {
	// Client is required.
	Client *api.Client
	// Name is the query's name or ID.
	Name string
	// Namespace, Partition and Datacenter are empty for the agent's own.
	Namespace, Partition, Datacenter string
	// LocalDatacenter is as in ServiceOptions. It is asked only for a resolver
	// with a Datacenter; other answers are remote if the query failed over.
	LocalDatacenter func(ctx context.Context) string
	// Poll is the time between two executions while the query is in use; zero
	// means DefaultPoll.
	Poll time.Duration
	// Turns is as in ServiceOptions.
	Turns *Turns
	// Logger may be nil.
	Logger hclog.Logger
}

// NewQuery returns a Resolver for what a prepared query answers. The set is
// Ordered where the query sorts by nearness.
func NewQuery(o QueryOptions) Resolver {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Poll <= 0 {
		o.Poll = DefaultPoll
	}
	i := newInterest(o.Turns)
	q := &query{o: o, tell: teller{logger: o.Logger, service: o.Name}}
	return watched{interest: i, w: watch.New(watch.Options[Set]{
		Name:  "query " + o.Name,
		Fetch: q.fetch,
		Equal: Set.equal,
		Pace: func() time.Duration {
			if q.order.undecided() {
				return o.Poll // whether it sorts shows in a row of answers
			}
			return i.pace(o.Poll)
		},
		Turn:   i.enter(true), // a query may fail over to another datacenter
		Logger: o.Logger,
	})}
}

// query is used by the one goroutine that runs its watch.
type query struct {
	o         QueryOptions
	tell      teller
	order     order
	explained time.Time
}

func (q *query) fetch(ctx context.Context, _ watch.Cursor, _ time.Duration) (Set, watch.Cursor, error) {
	if q.explained.IsZero() || time.Since(q.explained) >= explainEvery {
		q.explained = time.Now()
		q.learn(ctx)
	}
	opts := q.options()
	opts.Connect = true
	answer, meta, err := q.o.Client.PreparedQuery().Execute(q.o.Name, opts.WithContext(ctx))
	if err != nil {
		return Set{}, watch.Cursor{}, err
	}
	entries := make([]*api.ServiceEntry, len(answer.Nodes))
	nodes := make([]string, 0, len(answer.Nodes))
	for i := range answer.Nodes {
		entries[i] = &answer.Nodes[i]
		if n := entries[i].Node; n != nil {
			nodes = append(nodes, n.Node)
		}
	}
	remote := remoteTo(ctx, q.o.Datacenter, q.o.LocalDatacenter)
	if q.o.Datacenter == "" && answer.Failovers > 0 {
		remote = func(string) bool { return true }
	}
	// Another datacenter's answer is shuffled, however the query sorts.
	ordered := q.order.sorted(nodes) && answer.Failovers == 0
	set, leftOut := setOf(entries, asked{
		service:    answer.Service,
		datacenter: answer.Datacenter,
		remote:     remote,
	}, ordered)
	set.Filtered = meta.ResultsFilteredByACLs
	q.tell.leftOut(leftOut)
	return set, watch.Cursor{}, nil
}

func (q *query) options() *api.QueryOptions {
	return &api.QueryOptions{
		Namespace:  q.o.Namespace,
		Partition:  q.o.Partition,
		Datacenter: q.o.Datacenter,
		AllowStale: true,
	}
}

// learn reads from the query's definition whether it sorts. It asks for the
// explanation, since that takes a name where the definition itself takes only
// an ID, and fills in templates. A token that may execute a query need not be
// allowed to read it: then the answers must tell.
func (q *query) learn(ctx context.Context) {
	var out struct {
		Query struct{ Service struct{ Near string } }
	}
	_, err := q.o.Client.Raw().Query("/v1/query/"+q.o.Name+"/explain", &out, q.options().WithContext(ctx))
	var status api.StatusError
	switch {
	case err == nil:
		q.order.define(out.Query.Service.Near)
	case errors.As(err, &status) && status.Code < 500:
		q.order.forget()
	}
	// Any other error passes; what was learnt before stays true meanwhile.
}
