package watch

import (
	"math/rand/v2"
	"time"
)

// beat is the time between the moments at which Coalesce has things done.
const beat = 2 * time.Second

// origin is what those moments are counted from in this process.
var origin = newOrigin(time.Now())

// newOrigin is another moment in each process, so that those that start together
// do not go on in step.
func newOrigin(start time.Time) time.Time { return start.Add(-rand.N(beat)) }

// Coalesce returns how long to wait where something is to be done every d: about
// as long, and a tenth longer at most, so that whatever a process does every so
// often it does at the same moments. To wake a process that is at rest costs more
// than most of what it then does. Below a second it is d, give or take a tenth.
func Coalesce(d time.Duration) time.Duration { return coalesce(origin, d) }

func coalesce(origin time.Time, d time.Duration) time.Duration {
	step := beat
	switch {
	case d < time.Second:
		return jitter(d)
	case d < beat:
		step = beat / 4
	}
	latest := d + d/10
	past := (time.Since(origin) + latest) % step
	if past < 0 { // in tests, whose clock may stand before origin
		past += step
	}
	return max(latest-past, minGap)
}
