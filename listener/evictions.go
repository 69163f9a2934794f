package listener

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// evictionsFirst is how long after the first eviction in a while the log
	// tells of it, and evictionsAgain how often while it lasts.
	evictionsFirst = time.Second
	evictionsAgain = time.Minute
	// maxSources bounds the addresses counted, some 100 bytes each.
	maxSources = 1024
)

// evictions counts who gave way since the log told of it last.
type evictions struct {
	n int
	// bySource counts them by address. Where there are more addresses than it
	// holds, each count is one too low for every maxSources of others: an
	// address that stands out does so still.
	bySource map[netip.Addr]int
	many     bool // there were more addresses than bySource holds
	// begun is signalled when n was zero.
	begun chan struct{}
}

func newEvictions() evictions { return evictions{begun: make(chan struct{}, 1)} }

func (e *evictions) note(source netip.Addr) {
	if e.n == 0 {
		e.bySource = make(map[netip.Addr]int)
		select {
		case e.begun <- struct{}{}:
		default: // it is known already
		}
	}
	e.n++
	if _, ok := e.bySource[source]; ok || len(e.bySource) < maxSources {
		e.bySource[source]++
		return
	}
	// Misra and Gries's frequent items: one of each address is set against one
	// of this.
	e.many = true
	for s, n := range e.bySource {
		if n == 1 {
			delete(e.bySource, s)
		} else {
			e.bySource[s] = n - 1
		}
	}
}

// take gives what was counted and begins anew.
func (e *evictions) take() evictions {
	taken := *e
	e.n, e.bySource, e.many = 0, nil, false
	return taken
}

// log writes one line. It reports false if there was nothing to tell.
func (e *evictions) log(log hclog.Logger, held int) bool {
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

// display is a source as people write it.
func display(source netip.Addr) string {
	switch {
	case !source.IsValid():
		return "unix socket"
	case source.Is4():
		return source.String()
	}
	return netip.PrefixFrom(source, 64).String()
}
