package identity

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"connect-proxy/upstream/watch"
)

// changeCounts counts what has come into force, and what could not be used.
type changeCounts struct{ leafs, badLeafs, roots, badRoots atomic.Uint64 }

// unusable is the error of an answer that came and cannot be put in force.
type unusable struct{ error }

func (u unusable) Unwrap() error { return u.error }

// counting adds the answers of fetch that cannot be used to n.
func counting[T any](n *atomic.Uint64, fetch watch.Fetch[T]) watch.Fetch[T] {
	return func(ctx context.Context, have watch.Cursor, wait time.Duration) (T, watch.Cursor, error) {
		v, next, err := fetch(ctx, have, wait)
		if errors.As(err, new(unusable)) {
			n.Add(1)
		}
		return v, next, err
	}
}
