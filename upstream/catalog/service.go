package catalog

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/upstream"
	"connect-proxy/upstream/answer"
)

// errHidden is an answer that the agent keeps from the token.
var errHidden = errors.New("the token may not read any instance any more: it needs service:read on the service and its proxy, node:read")

const (
	// verifyEvery is how often the agent is asked to look past its cache while a
	// destination is in use.
	verifyEvery = 10 * time.Second
	// cacheWait is how long an answer from the agent's cache may take.
	cacheWait = time.Second
	// largeAnswer is from how many bytes on it is worth while to ask first whether
	// there is anything new.
	largeAnswer = 64 << 10
	// nothing is a filter that no instance passes: an answer without them tells the
	// index all the same.
	nothing = `Service.ID == "" and Service.ID != ""`
)

// watchService keeps the set of a service's healthy instances fresh, and calls
// notify, if that is given, as a watch does.
//
// It holds no question at the agent. While the service is in use it asks every
// second for what the agent has in its cache, which the agent keeps fresh for
// all proxies on its node by one question of its own. That copy may lag behind
// after an outage, by minutes, and does not say so: so every tenth question, the
// first after a rest, those after a failure and those for a service that has no
// instances go past it, to any server, even one that has lost its leader: old
// endpoints beat none.
//
// A large answer is asked for only where the index of one without instances is
// another than before: to write and to read thousands of instances each second
// would cost the agent and this proxy more than everything else.
func (c *Catalog) watchService(q question, u *usage, notify func()) setWatch {
	s := &serviceResolver{question: q, c: c, usage: u, skipped: skipLogger{logger: c.o.Logger, service: q.service}}
	return c.watchSet(u, setOptions{
		name:   "endpoints " + q.service,
		fetch:  s.fetch,
		pace:   func() time.Duration { return u.pace(usePace) },
		remote: q.datacenter != "",
		notify: notify,
	})
}

// serviceResolver is used by the one goroutine that asks its question.
type serviceResolver struct {
	question
	c       *Catalog
	usage   *usage
	skipped skipLogger
	entries entryCache
	// from is where entries come from, and own the agent's datacenter, by which it
	// tells remote ones.
	from    answerScope
	own     string
	healthy lastHealthy
	// verified is when the agent last answered past its cache, zero after a
	// failure; behind is when its cache was last found to be behind that.
	verified, behind time.Time
	index            uint64 // of the last answer
	some             bool   // there were instances in it

	// set is what was made of the last answer. While large and steady are set, it
	// stands for as long as the index is that of marks, of the agent's cache and
	// past it.
	set           upstream.Set
	large, steady bool
	marks         [2]uint64
}

// cached reports whether the agent's cache will do.
func (s *serviceResolver) cached() bool {
	return s.some && s.usage.recent() && time.Since(s.verified) < verifyEvery && time.Since(s.behind) > verifyEvery
}

// unchanged reports whether the last answer stands. If not, mark is the index of
// an answer that is asked for now, or zero.
func (s *serviceResolver) unchanged(ctx context.Context, cached bool) (stands bool, mark uint64) {
	if !s.large || !s.steady {
		return false, 0
	}
	q := s.options()
	q.Filter, q.UseCache = nothing, cached
	if cached {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cacheWait)
		defer cancel()
	}
	_, meta, err := s.c.o.Client.Health().Connect(s.service, "", !s.warning, q.WithContext(ctx))
	if err != nil {
		return false, 0
	}
	return meta.LastIndex != 0 && meta.LastIndex == *s.markOf(cached), meta.LastIndex
}

// query gets the service's instances as the agent knows them, from its cache
// where that will do.
func (s *serviceResolver) query(ctx context.Context, cached bool, mark uint64) ([]*listed, *api.QueryMeta, error) {
	if cached {
		all, meta, err := s.queryCache(ctx)
		// The cache may be behind or not be filled, and does not say what it hides
		// from the token.
		if err == nil && meta.LastIndex >= s.index && len(all) > 0 {
			s.index = meta.LastIndex
			s.mark(true, mark, meta)
			return all, meta, nil
		}
		s.behind, mark = time.Now(), 0
	}
	all, meta, err := s.list(ctx, !s.warning, s.options())
	if err != nil {
		s.verified = time.Time{}
		return nil, nil, err
	}
	s.verified, s.index = time.Now(), meta.LastIndex
	s.mark(false, mark, meta)
	return all, meta, nil
}

// mark remembers which index the answer with meta stands for. That is none where
// the answer is older than the mark: it came from another server, or from another
// part of the agent's cache, and what has changed is still to come.
func (s *serviceResolver) mark(cached bool, mark uint64, meta *api.QueryMeta) {
	if meta.LastIndex < mark {
		mark = 0
	}
	*s.markOf(cached) = mark
}

func (s *serviceResolver) markOf(cached bool) *uint64 {
	if cached {
		return &s.marks[0]
	}
	return &s.marks[1]
}

// queryCache is for what the agent has in its cache, or an error where that takes
// long: the agent is then about to fill it, and everybody waits meanwhile.
func (s *serviceResolver) queryCache(ctx context.Context) ([]*listed, *api.QueryMeta, error) {
	ctx, cancel := context.WithTimeout(ctx, cacheWait)
	defer cancel()
	q := s.options()
	q.UseCache = true
	return s.list(ctx, !s.warning, q)
}

// list asks for the instances, with onlyPassing for those alone that pass.
func (s *serviceResolver) list(ctx context.Context, onlyPassing bool, q *api.QueryOptions) ([]*listed, *api.QueryMeta, error) {
	all := make([]*listed, 0, len(s.entries.known))
	size := 0
	ctx, taken := answer.With(ctx, func(body io.Reader) error {
		return answer.Each(body, func(text []byte) error {
			l, err := s.entries.read(text, s.read)
			all = append(all, l)
			size += len(text)
			return err
		})
	})
	decoded, meta, err := s.c.o.Client.Health().Connect(s.service, "", onlyPassing, q.WithContext(ctx))
	if err == nil {
		_, err = taken.Done()
	}
	if err != nil {
		return nil, nil, err
	}
	for _, e := range decoded { // by a client that takes no bodies
		l := s.read(e)
		all = append(all, &l)
	}
	s.large = size >= largeAnswer
	return all, meta, nil
}

// read is what an entry comes to.
func (s *serviceResolver) read(e *api.ServiceEntry) listed {
	l := listed{id: instanceID(e), state: assess(e, s.warning)}
	l.placed, l.problem = s.from.locate(e)
	return l
}

// options are for any server, past the agent's cache.
func (s *serviceResolver) options() *api.QueryOptions {
	return &api.QueryOptions{
		Namespace:  s.namespace,
		Partition:  s.partition,
		Datacenter: s.datacenter,
		AllowStale: true,
		Filter:     s.filter,
	}
}

// hidden reports whether there are instances which the token may not read. A
// question for proxies does not: without service:read it looks as if there were
// none.
func (s *serviceResolver) hidden(ctx context.Context) bool {
	_, meta, err := s.c.o.Client.Health().Service(s.service, "", false, s.options().WithContext(ctx))
	return err == nil && meta.ResultsFilteredByACLs
}

func (s *serviceResolver) fetch(ctx context.Context) (upstream.Set, error) {
	cached := s.cached()
	stands, mark := s.unchanged(ctx, cached)
	if stands {
		if !cached {
			s.verified = time.Now()
		}
		return s.set, nil
	}
	s.locateFrom(ctx)
	s.entries.begin()
	defer s.entries.end()
	all, meta, err := s.query(ctx, cached, mark)
	if err != nil {
		return upstream.Set{}, err
	}
	judged := !s.warning // by the agent
	if judged && s.healthy.lostAny(all) {
		// Why one does not pass any more is what counts.
		if every, _, err := s.list(ctx, false, s.options()); err == nil {
			all, judged = every, false
		}
	}
	all = s.keepHealthy(all, judged, time.Now())
	set, skipped := setOfListed(all, false)
	set.Filtered = meta.ResultsFilteredByACLs
	if s.some && len(set.Endpoints) == 0 && (set.Filtered || s.hidden(ctx)) {
		return upstream.Set{}, errHidden
	}
	if some := len(set.Endpoints) > 0; some != s.some {
		s.some = some
		s.usage.news()
	}
	s.skipped.log(skipped)
	s.set = set
	return set, nil
}

// locateFrom says where the entries of the next answers come from.
func (s *serviceResolver) locateFrom(ctx context.Context) {
	if s.datacenter != "" {
		if own := s.c.localDatacenter(ctx); own != s.own {
			s.own = own
			s.entries.forget()
		}
	}
	s.from = answerScope{service: s.service, datacenter: s.datacenter, remote: s.c.remoteTo(ctx, s.datacenter)}
}
