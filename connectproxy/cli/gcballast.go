package cli

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

const (
	// ballastSize is what the collector is to count beside a small heap, and the
	// size of the live heap from which on there is no need of it.
	ballastSize = 8 << 20
	// smallPercent and largePercent are GOGC without the ballast, for a live heap
	// below that size and above it.
	smallPercent = 100
	largePercent = 50
)

// gcBallast is memory that nobody touches, so that it takes none of the machine's.
// The collector counts it, and waits for as much garbage again as it counts:
// handshakes leave some fifty kilobytes each, on a heap of two megabytes. A
// higher GOGC would do the same for a small heap, and have one that is large
// because of many connections grow to several times its size.
//
// A heap that has grown of itself, as that of a thousand upstreams does, has no use
// for it, and pays with memory what it does not need in time: the ballast goes then,
// for good, since memory that was used once would not come untouched.
type gcBallast struct {
	mu      sync.Mutex // guards what follows
	memory  []byte     // nil once it has gone
	percent int        // in force
	over    bool
}

// newBallast holds the ballast until release is called or it has gone.
func newBallast() *gcBallast {
	b := &gcBallast{memory: make([]byte, ballastSize), percent: smallPercent}
	b.afterCollection()
	return b
}

// afterCollection has adjust called after the next collection, and each one that
// follows.
func (b *gcBallast) afterCollection() {
	type sentinel struct{ _ *int } // a pointer keeps it from sharing its block
	runtime.SetFinalizer(new(sentinel), func(*sentinel) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		if b.adjust(live[0].Value.Uint64()) {
			b.afterCollection()
		}
	})
}

// adjust goes by the heap that the last collection has found live. It reports
// whether it is to be called again.
func (b *gcBallast) adjust(live uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	large := live > ballastSize+uint64(len(b.memory))
	want := smallPercent
	if large {
		b.memory, want = nil, largePercent
	}
	if !b.over && want != b.percent {
		b.percent = want
		debug.SetGCPercent(want)
	}
	return !b.over
}

// release ends it.
func (b *gcBallast) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.memory, b.over = nil, true
	if b.percent != smallPercent {
		debug.SetGCPercent(smallPercent)
	}
}
