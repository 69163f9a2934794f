package mtls

import (
	"container/list"
	"sync"
)

// LRU is a map that holds the most recently used entries and no more than its
// limit. It is safe for concurrent use.
type LRU[K comparable, V any] struct {
	limit int

	mu    sync.Mutex // guards what follows
	items map[K]*list.Element
	order list.List // of lruItem[K, V], the most recently used first
}

type lruItem[K comparable, V any] struct {
	key   K
	value V
}

// NewLRU makes an LRU of at most limit entries, which must be positive.
func NewLRU[K comparable, V any](limit int) *LRU[K, V] {
	return &LRU[K, V]{limit: limit, items: make(map[K]*list.Element)}
}

// Get returns the value of k, and whether there is one. It counts as a use.
func (l *LRU[K, V]) Get(k K) (v V, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.items[k]
	if !ok {
		return v, false
	}
	l.order.MoveToFront(e)
	return e.Value.(*lruItem[K, V]).value, true
}

// GetOrAdd returns the value of k, and adds make's where there is none yet. make is
// called with the lock held, so that a value is made once: it must not block, nor
// use the LRU.
func (l *LRU[K, V]) GetOrAdd(k K, make func() V) V {
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

// Put makes v the value of k. Beyond the limit the entry goes that has not been
// used for longest.
func (l *LRU[K, V]) Put(k K, v V) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.items[k]; ok {
		e.Value.(*lruItem[K, V]).value = v
		l.order.MoveToFront(e)
		return
	}
	l.add(k, v)
}

func (l *LRU[K, V]) add(k K, v V) {
	l.items[k] = l.order.PushFront(&lruItem[K, V]{k, v})
	if len(l.items) > l.limit {
		oldest := l.order.Back()
		l.order.Remove(oldest)
		delete(l.items, oldest.Value.(*lruItem[K, V]).key)
	}
}
