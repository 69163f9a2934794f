package catalog

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/upstream"
)

// DefaultPoll is how often a prepared query in use is executed. Agents can
// neither block on one nor answer it from memory, so that is done a little less
// often than services are asked for.
const DefaultPoll = 1500 * time.Millisecond

// explainEvery is how often a query's definition is read again.
const explainEvery = time.Minute

// QueryOptions say which prepared query a resolver executes.
type QueryOptions struct {
	// Label is what the destination is called in the log; empty means Name.
	Label string
	// Name is the query's name or ID.
	Name string
	// Namespace, Partition and Datacenter are empty for the agent's own. Without
	// a Datacenter an answer is a remote one if the query failed over.
	Namespace, Partition, Datacenter string
	// Poll is the time between two executions while the query is in use; zero or
	// less means DefaultPoll.
	Poll time.Duration
}

// Query returns a Resolver for what a prepared query answers. The set is Ordered
// where the query sorts by nearness.
func (c *Catalog) Query(o QueryOptions) Resolver {
	o.Poll = cmp.Or(max(o.Poll, 0), DefaultPoll)
	u := &usage{c: c}
	q := &queryResolver{
		o: o, c: c, skipped: skipLogger{logger: c.o.Logger, service: o.Name},
		sets: setLogger{logger: c.o.Logger, name: cmp.Or(o.Label, o.Name)},
	}
	q.setWatch = c.watchSet(u, setOptions{
		name:  "query " + o.Name,
		fetch: q.fetch,
		pace: func() time.Duration {
			if q.order.undecided() {
				return o.Poll // whether it sorts shows in a row of answers
			}
			return u.pace(o.Poll)
		},
		remote: true, // a query may fail over to another datacenter
		first:  c.firstDelay(u),
		notify: q.Notify,
	})
	return q
}

// queryResolver is a Resolver for a prepared query. But for its set it is used by the one
// goroutine that asks its question.
type queryResolver struct {
	setWatch
	upstream.Followers
	o         QueryOptions
	c         *Catalog
	skipped   skipLogger
	sets      setLogger
	order     order
	explained time.Time
}

func (q *queryResolver) fetch(ctx context.Context) (upstream.Set, error) {
	if q.explained.IsZero() || time.Since(q.explained) >= explainEvery {
		q.explained = time.Now()
		q.learn(ctx)
	}
	opts := q.options()
	opts.Connect = true
	answer, meta, err := q.c.o.Client.PreparedQuery().Execute(q.o.Name, opts.WithContext(ctx))
	if err != nil {
		return upstream.Set{}, err
	}
	entries := make([]*api.ServiceEntry, len(answer.Nodes))
	nodes := make([]string, 0, len(answer.Nodes))
	for i := range answer.Nodes {
		entries[i] = &answer.Nodes[i]
		if n := entries[i].Node; n != nil {
			nodes = append(nodes, n.Node)
		}
	}
	remote := q.c.remoteTo(ctx, q.o.Datacenter)
	if q.o.Datacenter == "" && answer.Failovers > 0 {
		remote = func(string) bool { return true }
	}
	// Another datacenter's answer is shuffled, however the query sorts.
	ordered := q.order.sorted(nodes) && answer.Failovers == 0
	set, skipped := setOf(entries, answerScope{
		service:    answer.Service,
		datacenter: answer.Datacenter,
		remote:     remote,
	}, ordered)
	set.Filtered = meta.ResultsFilteredByACLs
	q.skipped.log(skipped)
	q.sets.logChange(set)
	return set, nil
}

func (q *queryResolver) options() *api.QueryOptions {
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
func (q *queryResolver) learn(ctx context.Context) {
	var out struct {
		Query struct{ Service struct{ Near string } }
	}
	_, err := q.c.o.Client.Raw().Query("/v1/query/"+q.o.Name+"/explain", &out, q.options().WithContext(ctx))
	var status api.StatusError
	switch {
	case err == nil:
		q.order.define(out.Query.Service.Near)
	case errors.As(err, &status) && status.Code < 500:
		q.order.forget()
	}
	// Any other error passes; what was learnt before stays true meanwhile.
}
