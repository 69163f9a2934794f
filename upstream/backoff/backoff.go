package backoff

import (
	"cmp"
	"context"
	"math/rand/v2"
	"time"
)

// The bounds of a Backoff that has none of its own.
const (
	// DefaultMin is the bound of the first wait.
	DefaultMin = 250 * time.Millisecond
	// DefaultMax is that of the longest.
	DefaultMax = 15 * time.Second
)

// Bound is the longest wait after the nth failure in a row: least after the
// first, doubling up to most.
func Bound(least, most time.Duration, n int) time.Duration {
	if n > 30 || least<<(n-1) > most || least<<(n-1) <= 0 {
		return most
	}
	return least << (n - 1)
}

// Wait is how long to wait after the nth failure in a row: Bound, of which the
// share chance, from 0 to 1, is up to chance. The larger that share is, the less
// do many come back in step that lost one agent, and the less is known of when.
func Wait(least, most time.Duration, n int, chance float64) time.Duration {
	bound := Bound(least, most, n)
	part := time.Duration(chance * float64(bound))
	return bound - part + rand.N(part+1)
}

// Backoff counts the failures of a streak and gives the wait after each, from
// Min to Max, half of it chance. The zero value is a streak not begun, from
// DefaultMin to DefaultMax. It is for one goroutine.
type Backoff struct {
	// Min and Max bound the waits; zero means DefaultMin and DefaultMax.
	Min, Max time.Duration

	failures int
}

// Next returns how long to wait after one more failure.
func (b *Backoff) Next() time.Duration {
	b.failures++
	return Wait(cmp.Or(b.Min, DefaultMin), cmp.Or(b.Max, DefaultMax), b.failures, 0.5).Round(time.Millisecond)
}

// Reset ends the streak: the next wait is the first of another.
func (b *Backoff) Reset() { b.failures = 0 }

// Sleep reports whether d passed before ctx was done.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
