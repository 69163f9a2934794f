package upstream

import (
	"errors"
	"testing"
)

func TestTheLastSetStaysWhileNothingNewerIsFound(t *testing.T) {
	l := NewLatest("redis")
	changes := 0
	defer l.Follow(func() { changes++ })()
	l.Missed(errors.New("nobody answers"))
	if _, ok := l.Set(); ok {
		t.Error("a set before the first")
	}
	if s := l.Status(); s.Has || s.Err == nil || s.Failures != 1 || s.Failing.IsZero() || s.Name != "redis" {
		t.Errorf("%+v", s)
	}
	l.Found(Set{Endpoints: []Endpoint{{ID: "a", Address: "127.0.0.1:1"}}})
	l.Found(Set{Endpoints: []Endpoint{{ID: "a", Address: "127.0.0.1:1"}}})
	if changes != 1 {
		t.Errorf("told of %d changes, there was one", changes)
	}
	first := l.Status()
	for range 3 {
		l.Missed(errors.New("nobody answers"))
	}
	s := l.Status()
	if set, ok := l.Set(); !ok || len(set.Endpoints) != 1 || s.Failures != 3 || !s.Fresh.Equal(first.Fresh) || s.Err == nil {
		t.Errorf("%+v, %+v", set, s)
	}
	l.Found(Set{})
	if s := l.Status(); s.Err != nil || s.Failures != 0 || !s.Failing.IsZero() || changes != 2 {
		t.Errorf("%+v after %d changes", s, changes)
	}
}

func TestAnEmptyFirstSetIsAChange(t *testing.T) {
	l, changes := NewLatest("redis"), 0
	defer l.Follow(func() { changes++ })()
	l.Found(Set{Reason: "there is none"})
	if changes != 1 {
		t.Errorf("told of %d changes", changes)
	}
}
