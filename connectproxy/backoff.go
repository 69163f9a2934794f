package connectproxy

import (
	"math/rand/v2"
	"time"
)

const (
	minBackoff = 250 * time.Millisecond
	maxBackoff = 15 * time.Second
)

// backoff gives the waits of a streak of failures: exponential from 250 ms to
// 15 s. Half of each is chance, so that the proxies of one host that lost the
// same agent do not come back in step. The zero value is a streak not begun.
type backoff struct{ last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, minBackoff), maxBackoff)
	return (b.last/2 + rand.N(b.last/2)).Round(time.Millisecond)
}

func (b *backoff) reset() { b.last = 0 }
