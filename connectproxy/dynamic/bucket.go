package dynamic

import "time"

// bucket holds back what comes too often. The zero time is when it is full.
type bucket struct {
	rate, burst float64
	used        float64 // of burst, at the time of at
	at          time.Time
}

func (b *bucket) refill(now time.Time) {
	b.used = max(0, b.used-b.rate*now.Sub(b.at).Seconds())
	b.at = now
}

// left reports whether there is anything to take.
func (b *bucket) left(now time.Time) bool {
	b.refill(now)
	return b.used <= b.burst-1
}

func (b *bucket) take(now time.Time) {
	b.refill(now)
	b.used = min(b.used+1, b.burst)
}
