package connectproxy

import (
	"container/list"
	"sync"
)

// lru is a map that holds the most recently used entries and no more than its
// limit. It is safe for concurrent use.
type lru[K comparable, V any] struct {
	limit int

	mu    sync.Mutex // guards what follows
	items map[K]*list.Element
	order list.List // of lruItem[K, V], the most recently used first
}

type lruItem[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](limit int) *lru[K, V] {
	return &lru[K, V]{limit: limit, items: make(map[K]*list.Element)}
}

func (l *lru[K, V]) get(k K) (v V, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.items[k]
	if !ok {
		return v, false
	}
	l.order.MoveToFront(e)
	return e.Value.(*lruItem[K, V]).value, true
}

// getOrAdd returns the value of k, which make makes where there is none yet.
// It runs under the lock, so that there is only ever one.
func (l *lru[K, V]) getOrAdd(k K, make func() V) V {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.items[k]; ok {
		l.order.MoveToFront(e)
		return e.Value.(*lruItem[K, V]).value
	}
	v := make()
	l.add(k, v)
	return v
}

func (l *lru[K, V]) put(k K, v V) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.items[k]; ok {
		e.Value.(*lruItem[K, V]).value = v
		l.order.MoveToFront(e)
		return
	}
	l.add(k, v)
}

func (l *lru[K, V]) add(k K, v V) {
	l.items[k] = l.order.PushFront(&lruItem[K, V]{k, v})
	if len(l.items) > l.limit {
		oldest := l.order.Back()
		l.order.Remove(oldest)
		delete(l.items, oldest.Value.(*lruItem[K, V]).key)
	}
}
