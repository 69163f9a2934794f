package upstream

import (
	"context"
	"sync"
	"time"
)

// Latest is a Resolver that is told its instances: by Found what they are, by
// Missed why they could not be found. It is safe for concurrent use.
type Latest struct {
	Followers
	// name is what is asked for.
	name string

	mu     sync.Mutex // guards what follows
	set    Set
	status ResolverStatus
}

var _ Resolver = (*Latest)(nil)

// NewLatest makes a Latest without a set. The name is for people.
func NewLatest(name string) *Latest { return &Latest{name: name} }

// Found says what there is at this moment. The set is not altered afterwards.
func (l *Latest) Found(s Set) {
	l.mu.Lock()
	changed := !l.status.Has || !l.set.Equal(s)
	l.set = s
	l.status = ResolverStatus{Has: true, Fresh: time.Now()}
	l.mu.Unlock()
	if changed {
		l.Notify()
	}
}

// Missed records why it cannot be told what there is. The last set stays.
func (l *Latest) Missed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.status.Err = err; l.status.Failures == 0 {
		l.status.Failing = time.Now()
	}
	l.status.Failures++
}

// Set is Resolver's.
func (l *Latest) Set() (s Set, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.set, l.status.Has
}

// Status is Resolver's.
func (l *Latest) Status() ResolverStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.status
	s.Name = l.name
	return s
}

// Use is Resolver's. The set is what it is, whether it is used or not.
func (l *Latest) Use(context.Context) bool { return false }

// Fixed is a Resolver of a set that never changes. The name is for people.
func Fixed(name string, s Set) Resolver {
	l := NewLatest(name)
	l.Found(s)
	return fixed{l}
}

type fixed struct{ *Latest }

// Status is Resolver's: the set is true at any time.
func (f fixed) Status() ResolverStatus {
	s := f.Latest.Status()
	s.Fresh = time.Now()
	return s
}
