package micro

import (
	"context"
	"reflect"
	"sync"
	"time"

	"connect-proxy/config"
)

const (
	// fresh is how long an answer of the agent is shown again.
	fresh = time.Second
	// maxAnswers is how many answers are remembered.
	maxAnswers = 256
)

// answers remembers what the agent has said. One question is under way at a time:
// clients cannot make the agent work without bound.
type answers struct {
	asking chan struct{} // holds one
	mu     sync.Mutex    // guards kept
	kept   map[config.Destination]registryAnswer
}

type registryAnswer struct {
	services []registryService
	at       time.Time
}

func newAnswers() *answers {
	return &answers{asking: make(chan struct{}, 1), kept: make(map[config.Destination]registryAnswer)}
}

func (a *answers) recall(d config.Destination, since time.Time) ([]registryService, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	got, ok := a.kept[d]
	return got.services, ok && got.at.After(since)
}

// keep returns s, or what was kept before where it is the same: all who have seen
// it have one copy.
func (a *answers) keep(d config.Destination, s []registryService) []registryService {
	a.mu.Lock()
	defer a.mu.Unlock()
	if old, ok := a.kept[d]; ok && reflect.DeepEqual(old.services, s) {
		s = old.services
	} else if !ok && len(a.kept) >= maxAnswers {
		clear(a.kept)
	}
	a.kept[d] = registryAnswer{s, time.Now()}
	return s
}

// forget has the next get of d ask.
func (a *answers) forget(d config.Destination) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.kept, d)
}

// get returns what ask says of d, or has said since a moment.
func (a *answers) get(ctx context.Context, d config.Destination, since time.Time, ask func() ([]registryService, error)) ([]registryService, error) {
	if s, ok := a.recall(d, since); ok {
		return s, nil
	}
	select {
	case a.asking <- struct{}{}:
		defer func() { <-a.asking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s, ok := a.recall(d, since); ok { // who went before has asked the same
		return s, nil
	}
	s, err := ask()
	if err == nil {
		s = a.keep(d, s)
	}
	return s, err
}
