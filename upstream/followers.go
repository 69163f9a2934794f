package upstream

import (
	"slices"
	"sync"
)

// Followers are the functions that a Resolver calls when its set changes. The
// zero value has none. It is safe for concurrent use.
type Followers struct {
	mu  sync.Mutex // guards all
	all []*func()
}

// Follow is Resolver's.
func (f *Followers) Follow(changed func()) (stop func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	own := &changed
	f.all = append(slices.Clip(f.all), own) // Notify may be reading the old one
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		left := make([]*func(), 0, len(f.all))
		for _, other := range f.all {
			if other != own {
				left = append(left, other)
			}
		}
		f.all = left
	}
}

// Notify calls them, without a lock.
func (f *Followers) Notify() {
	f.mu.Lock()
	all := f.all
	f.mu.Unlock()
	for _, changed := range all {
		(*changed)()
	}
}
