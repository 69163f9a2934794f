package listener

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// evictionLogDelay is how long after the first eviction in a while it is
	// logged, and evictionLogEvery how often while they go on.
	evictionLogDelay = time.Second
	evictionLogEvery = time.Minute
	// maxSources bounds the addresses counted, some 100 bytes each.
	maxSources = 1024
)

// evictionLog counts the evictions since they were logged last.
type evictionLog struct {
	n int
	// bySource counts them by address. Where there are more addresses than it
	// holds, each count is one too low for every maxSources of others: an
	// address that stands out does so still.
	bySource map[netip.Addr]int
	many     bool // there were more addresses than bySource holds
	// watch is called for the first eviction after a take without any: somebody
	// is to take what there will be.
	watch   func()
	watched bool
}

// count counts the eviction of a client of source.
func (e *evictionLog) count(source netip.Addr) {
	if e.n == 0 {
		e.bySource = make(map[netip.Addr]int)
	}
	if !e.watched {
		e.watched = true
		e.watch()
	}
	e.n++
	if _, ok := e.bySource[source]; ok || len(e.bySource) < maxSources {
		e.bySource[source]++
		return
	}
	// The frequent-items algorithm of Misra and Gries: one of each address is
	// set against one of this.
	e.many = true
	for s, n := range e.bySource {
		if n == 1 {
			delete(e.bySource, s)
		} else {
			e.bySource[s] = n - 1
		}
	}
}

// take returns what was counted and starts anew.
func (e *evictionLog) take() evictionLog {
	taken := *e
	e.watched = e.n > 0
	e.n, e.bySource, e.many = 0, nil, false
	return taken
}

// log writes one line. It reports false if there was no eviction.
func (e *evictionLog) log(log hclog.Logger, held int) bool {
	if e.n == 0 {
		return false
	}
	addresses := any(len(e.bySource))
	if e.many {
		addresses = fmt.Sprintf("more than %d", maxSources)
	}
	var worst netip.Addr
	for s, n := range e.bySource {
		if n > e.bySource[worst] {
			worst = s
		}
	}
	log.Warn("unfinished handshakes gave way to newer ones", "evicted", e.n, "addresses", addresses,
		"worst", display(worst), "evicted_of_worst", e.bySource[worst], "held", held)
	return true
}
