// Package deadpeer tells a TCP connection whose peer has vanished from one
// whose peer is busy. Keep-alives find a dead peer of an idle connection; they
// do not run while data is on its way, and the kernel by itself retransmits
// that for a quarter of an hour.
//
// TCP_USER_TIMEOUT would be one call at the start in place of a look now and
// then, but since Linux 5.11 it also ends a connection to a living peer that
// reads nothing for that long: a consumer that pauses is not dead.
package deadpeer

import (
	"fmt"
	"syscall"
	"time"
)

const (
	// After is how long a peer may leave everything unanswered.
	After = 80 * time.Second
	// Every is how often to look. Together they stay well below two minutes.
	Every = 20 * time.Second
)

// Err is why a connection whose peer has vanished was ended. It wraps what the
// kernel says when it notices by itself, so that both count as the same.
var Err = fmt.Errorf("peer has left data unanswered for %v: %w", After, syscall.ETIMEDOUT)
