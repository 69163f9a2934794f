package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"connect-proxy/config"
)

// TagPrefix begins a tag of a service that says which topic it subscribes to, with
// * for any part: micro-topic=orders.*
const TagPrefix = "micro-topic="

// Catalog says which services there are. Its methods ask the agent, and must return
// when ctx is done. They are called one at a time.
type Catalog interface {
	// Services returns the names of services that subscribe to topics, each with
	// the patterns of their names.
	Services(ctx context.Context) (map[string][]string, error)
	// Behind returns which services stand behind the instances of that name: the
	// name itself, or those that instances which are proxies represent.
	Behind(ctx context.Context, name string) ([]string, error)
}

const (
	// fresh is how long it is believed who subscribes, and behindFresh what stands
	// behind a name, which changes seldom.
	fresh       = 2 * time.Second
	behindFresh = 30 * time.Second
	// askTime bounds the questions for one event. While an answer is awaited that is
	// known from before, refreshWait is all that an event waits for it.
	askTime     = 5 * time.Second
	refreshWait = time.Second
	// maxListings is how many services that subscribe are remembered.
	maxListings = 1024
)

// directory remembers which services subscribe to what.
type directory struct {
	catalog Catalog
	asking  chan struct{} // holds one

	mu       sync.Mutex // guards what follows
	known    bool
	at       time.Time // when it was last asked for
	listings []namedTopics
	behind   map[string]representation
}

// namedTopics is a name in the catalog with the topics in its tags.
type namedTopics struct {
	name   string
	topics config.TopicList
}

type representation struct {
	services []string
	until    time.Time
}

func newDirectory(c Catalog) *directory {
	return &directory{catalog: c, asking: make(chan struct{}, 1), behind: make(map[string]representation)}
}

// lookup returns the services that subscribe to a topic. What was known before
// does while the agent does not answer.
func (d *directory) lookup(ctx context.Context, topic string) ([]string, error) {
	if d.catalog == nil {
		return nil, nil
	}
	services, stale, known := d.recall(topic)
	if !stale {
		return services, nil
	}
	wait := askTime
	if known {
		wait = refreshWait
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err := d.refresh(ctx, topic)
	if services, _, known = d.recall(topic); err != nil && !known {
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return services, nil
}

// recall returns what is known of a topic, whether the agent is to be asked about
// it, and whether that is all there is to know.
func (d *directory) recall(topic string) (services []string, stale, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	stale, known = now.Sub(d.at) >= fresh, d.known
	for _, l := range d.listings {
		if !l.topics.Allows(topic) {
			continue
		}
		r, ok := d.behind[l.name]
		stale = stale || !ok || now.After(r.until)
		known = known && ok
		services = append(services, r.services...)
	}
	slices.Sort(services)
	return slices.Compact(services), stale, known
}

// refresh asks the agent for what is stale of a topic, unless another has just done
// so. What cannot be told anew is believed for a while more.
func (d *directory) refresh(ctx context.Context, topic string) error {
	select {
	case d.asking <- struct{}{}:
		defer func() { <-d.asking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := d.list(ctx); err != nil {
		return err
	}
	for _, name := range d.unrepresented(topic) {
		services, err := d.catalog.Behind(ctx, name)
		if err != nil {
			d.believe(name)
			return err
		}
		d.represent(name, services)
	}
	return nil
}

// list asks which services subscribe.
func (d *directory) list(ctx context.Context) error {
	d.mu.Lock()
	old := time.Since(d.at) >= fresh
	d.mu.Unlock()
	if !old {
		return nil
	}
	all, err := d.catalog.Services(ctx)
	if err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.known {
			d.at = time.Now()
		}
		return err
	}
	var listings []namedTopics
	for name, topics := range all {
		if list := topicsOf(topics); len(listings) < maxListings {
			listings = append(listings, namedTopics{name, list})
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known, d.at, d.listings = true, time.Now(), listings
	for name := range d.behind {
		if _, ok := all[name]; !ok {
			delete(d.behind, name)
		}
	}
	return nil
}

// topicsOf makes a list of patterns, without those that are none.
func topicsOf(patterns []string) config.TopicList {
	valid := slices.DeleteFunc(slices.Clone(patterns), func(p string) bool {
		_, err := config.NewTopicList([]string{p})
		return err != nil
	})
	list, _ := config.NewTopicList(valid)
	return list
}

// unrepresented are the names of which it is to be asked what stands behind them.
func (d *directory) unrepresented(topic string) (names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.listings {
		if r, ok := d.behind[l.name]; l.topics.Allows(topic) && (!ok || time.Now().After(r.until)) {
			names = append(names, l.name)
		}
	}
	return names
}

func (d *directory) represent(name string, services []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	until := behindFresh
	if len(services) == 0 { // not healthy at this moment
		until = fresh
	}
	d.behind[name] = representation{services, time.Now().Add(until)}
}

// believe has what was known of a name hold for a while more.
func (d *directory) believe(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r, ok := d.behind[name]; ok {
		d.behind[name] = representation{r.services, time.Now().Add(fresh)}
	}
}

// TopicOf is the pattern of topics in a tag, if it is one with TagPrefix.
func TopicOf(tag string) (string, bool) { return strings.CutPrefix(tag, TagPrefix) }
