//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package agentbuild

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// lock takes the lock file and calls waiting once if somebody else has it. The
// kernel gives the lock back when its holder dies, so none is ever stale; the
// file stays, since removing it would let two processes lock two files.
func lock(ctx context.Context, path string, waiting func()) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	for said := false; ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, err
		}
		if !said {
			waiting()
			said = true
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		}
	}
}
