package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connect-proxy/upstream"
	"connect-proxy/upstream/backoff"
)

const (
	// settled is how long a session lasts until the wait after it is the shortest
	// again: a cluster that takes questions and ends every watch is not asked
	// without pause.
	settled = 10 * time.Second
	// complainEvery is how often a failure that lasts is logged.
	complainEvery = time.Minute
	// maxMalformed is how many keys that are no instances are named in the log.
	maxMalformed = 100
	// shownKey bounds what is shown of one.
	shownKey = 200
)

// Resolver is an upstream.Resolver of the keys below a prefix. It is safe for
// concurrent use.
type Resolver struct {
	*upstream.Latest
	o Options
	// confirmEvery is how often the keys are read again while a watch stands.
	confirmEvery time.Duration

	// What follows is Run's.

	failing    bool      // since the last good answer
	complained time.Time // when that was last logged for all to see
	malformed  map[string]bool
	partial    bool // it was said that there are too many
}

// New makes a Resolver, which asks nothing before Run. The error is a mistake in
// the options, in one line.
func New(o Options) (*Resolver, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	return &Resolver{
		Latest:       upstream.NewLatest("etcd " + o.Prefix),
		o:            o,
		confirmEvery: defaultConfirmEvery,
		malformed:    make(map[string]bool),
	}, nil
}

// Run keeps the set current until ctx is done, and returns ctx's error. A cluster
// that does not answer is asked again after a back-off; the error is logged and kept
// in Status. Run is called once.
func (r *Resolver) Run(ctx context.Context) error {
	retry := backoff.Backoff{}
	for ctx.Err() == nil {
		began := time.Now()
		err := r.session(ctx)
		if ctx.Err() != nil {
			break
		}
		if time.Since(began) >= settled {
			retry.Reset()
		}
		wait := retry.Next()
		if errors.Is(err, errReadAnew) {
			r.o.Logger.Debug("etcd is read anew", "prefix", r.o.Prefix, "reason", err)
		} else {
			r.failed(err, wait)
		}
		backoff.Sleep(ctx, wait)
	}
	return ctx.Err()
}

// failed notes that the cluster does not say what there is.
func (r *Resolver) failed(err error, retryIn time.Duration) {
	err = r.explain(err)
	r.Missed(err)
	r.failing = true
	log := r.o.Logger.Debug
	if time.Since(r.complained) >= complainEvery {
		r.complained = time.Now()
		log = r.o.Logger.Warn
	}
	log("etcd cannot be asked, and the last known instances stay in use",
		"prefix", r.o.Prefix, "error", err, "retry_in", retryIn.String())
}

// found puts a listing in force.
func (r *Resolver) found(l listing) {
	s, malformed := l.set(r.o)
	r.Found(s)
	if r.failing {
		r.failing = false
		r.o.Logger.Info("etcd answers again", "prefix", r.o.Prefix, "instances", len(s.Endpoints))
	}
	for _, m := range malformed {
		r.noteMalformed(m)
	}
	if l.partial != r.partial {
		if r.partial = l.partial; l.partial {
			r.o.Logger.Warn("etcd has more instances than are used", "prefix", r.o.Prefix, "used", len(s.Endpoints), "limit", r.o.MaxInstances)
		}
	}
}

// noteMalformed warns of a key once, and of so many keys at most.
func (r *Resolver) noteMalformed(m malformedKey) {
	switch {
	case r.malformed[m.rest] || len(r.malformed) > maxMalformed:
		return
	case len(r.malformed) == maxMalformed:
		r.o.Logger.Warn("etcd has further keys that are no instances", "prefix", r.o.Prefix)
	default:
		r.o.Logger.Warn("a key in etcd is no instance", "key", fmt.Sprintf("%.*q", shownKey, r.o.Prefix+"/"+m.rest), "reason", m.err)
	}
	r.malformed[m.rest] = true
}
