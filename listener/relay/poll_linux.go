package relay

import (
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// poll is an epoll descriptor and the two ways to wait on it (adaptWait).
type poll struct {
	fd    int
	added atomic.Uint32 // connections so far

	// What follows is the loop's alone.
	since   time.Time // when the rate was last looked at
	before  uint32    // what added was then
	yielded time.Time // when the scheduler last saw the loop

	file *os.File // a duplicate of fd while Go's poller watches it, else nil
	raw  syscall.RawConn
}

func newPoll() (*poll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &poll{fd: fd}, nil
}

// wait fills events and returns how many there are. It returns none when
// timeout is over, and waits for ever if that is negative.
func (p *poll) wait(events []unix.EpollEvent, timeout time.Duration) int {
	now := time.Now()
	if now.Sub(p.yielded) >= yieldEvery {
		runtime.Gosched()
		now = time.Now() // others may have taken their time
		p.yielded = now
	}
	if timeout != 0 {
		p.adaptWait(now)
		if p.file != nil {
			return p.waitInNetpoller(events, timeout)
		}
	}
	if timeout > 0 {
		timeout = (timeout + time.Millisecond - 1) / time.Millisecond
	}
	for {
		n, err := unix.EpollWait(p.fd, events, int(timeout))
		if err == nil {
			return n
		}
		if err != unix.EINTR {
			panic("relay: waiting for events: " + err.Error()) // only a closed descriptor could
		}
	}
}

func (p *poll) close() {
	if p.file != nil {
		p.leaveNetpoller()
	}
	unix.Close(p.fd)
}
