package micro

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"time"
)

const (
	// maxWatchers is how many clients may watch the registry.
	maxWatchers = 32
	// watchInterval is how often the registry is looked at for them.
	watchInterval = 2 * time.Second
	// maxPerPoll is how many services are asked about in one poll. More than that take
	// turns; those that are new go first.
	maxPerPoll = 16
)

// registryEvent is a change of the registry, in Micro's form.
type registryEvent struct {
	Action  string // create, update or delete
	Service registryService
}

// registryWatch is what a client that watches the registry has been told.
type registryWatch struct {
	server *Server
	// only is the one service that is watched, or empty for all that may be called.
	only string
	told map[string][]registryService // by their names
	turn string                       // who was asked about last
}

// serveWatch tells a client by a websocket how the registry changes: what there is
// at first, and then what comes, changes and goes. There is no queue: who reads
// slowly is told how it is then, and who does not read is closed.
func (s *Server) serveWatch(w http.ResponseWriter, r *http.Request, only string) {
	if only != "" {
		if _, failed := s.named(only); failed != nil {
			s.refused(r, only, failed)
			writeFailure(w, failed)
			return
		}
	}
	watch := &registryWatch{server: s, only: only, told: make(map[string][]registryService)}
	s.serveSocket(w, r, s.watchers, socketTalk{send: watch.run})
}

func (w *registryWatch) run(ctx context.Context, write func([]byte) error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		for _, e := range w.poll(ctx) {
			text, err := json.Marshal(e)
			if err != nil {
				return err
			}
			if err := write(text); err != nil {
				return err
			}
		}
		timer.Reset(w.server.watchInterval)
	}
}

// poll returns what has changed since the last poll. What the agent does not
// answer is as it was.
func (w *registryWatch) poll(ctx context.Context) []registryEvent {
	since := time.Now().Add(-w.server.watchInterval)
	names, err := w.names(ctx, since)
	if err != nil {
		return nil
	}
	var events []registryEvent
	for name, was := range w.told {
		if _, found := slices.BinarySearch(names, name); !found {
			events = append(events, changes(was, nil)...)
			if len(was) > 0 {
				events = append(events, registryEvent{"delete", registryService{Name: name}})
			}
			delete(w.told, name)
		}
	}
	for _, name := range w.due(names) {
		w.turn = name
		was := w.told[name]
		w.told[name] = was // it is known now, whatever the agent says
		d, failed := w.server.named(name)
		if failed != nil {
			continue // it was allowed a moment ago
		}
		if now, err := w.server.describe(ctx, d, since); err == nil {
			events = append(events, changes(was, now)...)
			w.told[name] = now
		}
	}
	return events
}

// names are what is watched, sorted.
func (w *registryWatch) names(ctx context.Context, since time.Time) ([]string, error) {
	if w.only != "" {
		names := []string{w.only}
		return slices.DeleteFunc(names, w.server.forbids), nil
	}
	all, err := w.server.list(ctx, since)
	var names []string
	for _, l := range all {
		names = append(names, l.Name)
	}
	return names, err
}

// forbids reports whether a service may not be called.
func (s *Server) forbids(name string) bool {
	_, failed := s.named(name)
	return failed != nil
}

// due are the services to ask about: the new ones, and then those that have not
// been asked about for longest.
func (w *registryWatch) due(names []string) []string {
	var due []string
	for _, name := range names {
		if _, known := w.told[name]; !known && len(due) < maxPerPoll {
			due = append(due, name)
		}
	}
	if len(due) > 0 && len(names) > maxPerPoll {
		return due
	}
	after, _ := slices.BinarySearch(names, w.turn+"\x00")
	for _, name := range slices.Concat(names[after:], names[:after]) {
		if len(due) == maxPerPoll {
			break
		}
		if !slices.Contains(due, name) {
			due = append(due, name)
		}
	}
	return due
}

// changes are what leads from one description of a service to another.
func changes(was, now []registryService) (events []registryEvent) {
	for _, s := range now {
		i := slices.IndexFunc(was, func(old registryService) bool { return old.Version == s.Version })
		switch {
		case i < 0:
			events = append(events, registryEvent{"create", s})
		case !reflect.DeepEqual(was[i], s):
			if gone := without(was[i], s.Nodes); len(gone.Nodes) > 0 {
				events = append(events, registryEvent{"delete", gone})
			}
			events = append(events, registryEvent{"update", s})
		}
	}
	for _, old := range was {
		if !slices.ContainsFunc(now, func(s registryService) bool { return s.Version == old.Version }) {
			events = append(events, registryEvent{"delete", old})
		}
	}
	return events
}

// without is a service with those of its nodes alone that are not among others.
func without(s registryService, others []registryNode) registryService {
	s.Nodes = slices.DeleteFunc(slices.Clone(s.Nodes), func(n registryNode) bool {
		return slices.ContainsFunc(others, func(o registryNode) bool { return o.ID == n.ID })
	})
	return s
}
