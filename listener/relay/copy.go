package relay

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"connect-proxy/listener/deadpeer"
	"connect-proxy/listener/secure"
)

const copyBufLen = 32 << 10

var copyBufs = sync.Pool{New: func() any { b := make([]byte, copyBufLen); return &b }}

// copier relays with two goroutines.
type copier struct {
	client, upstream net.Conn
	options          Options
	started          time.Time

	count      [2]atomic.Int64 // bytes from the client and from the upstream
	moved      atomic.Int64    // when bytes last moved, since started
	halfClosed atomic.Bool     // one direction has ended

	mu            sync.Mutex
	replay        replay
	counted       [2]int64 // what of count is in Options.Counters
	upstreamFirst bool
	firstEnded    bool // a direction has ended
	ended         bool // end and err are set
	end           End
	err           error
	timer         *time.Timer
}

func (e *Engine) copy(client, upstream net.Conn, o Options, done func(Result)) *Relay {
	c := &copier{client: client, upstream: upstream, options: o, started: time.Now(), replay: newReplay(o)}
	e.mu.Lock()
	e.copying[c] = struct{}{}
	if e.closed {
		c.stop(Closed)
	}
	e.mu.Unlock()
	c.mu.Lock()
	c.startTimer()
	c.mu.Unlock()
	go func() {
		r := c.run()
		e.mu.Lock()
		delete(e.copying, c)
		e.mu.Unlock()
		done(r)
	}()
	return &Relay{close: func() { c.stop(Closed) }}
}

// run returns when both directions have ended.
func (c *copier) run() Result {
	var up sync.WaitGroup
	up.Go(func() {
		if first := c.options.First; len(first) == 0 || c.write(c.upstream, first, UpstreamReset) {
			c.oneWay(c.upstream, c.client, UpstreamReset, ClientReset)
		}
	})
	c.oneWay(c.client, c.upstream, ClientReset, UpstreamReset)
	up.Wait()
	c.stop(Clean)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end != Refused {
		c.replay = replay{}
		c.addToCounters()
	}
	r := Result{
		ToUpstream: c.count[0].Load(), ToClient: c.count[1].Load(), End: c.end, Err: c.err,
		UpstreamFirst: c.upstreamFirst || c.end == UpstreamReset || c.end == Refused,
	}
	if c.end == Refused {
		_ = c.client.SetReadDeadline(time.Time{})
		r.ToUpstream, r.Undelivered = 0, &Undelivered{c.client, c.replay.sent}
	}
	return r
}

// oneWay copies from src to dst and passes the end of src on.
func (c *copier) oneWay(dst, src net.Conn, dstEnd, srcEnd End) {
	buf := copyBufs.Get().(*[]byte)
	defer copyBufs.Put(buf)
	for {
		n, err := src.Read(*buf)
		if n > 0 {
			c.keepForReplay(dst == c.client, (*buf)[:n])
			if !c.write(dst, (*buf)[:n], dstEnd) {
				return
			}
		}
		if err == io.EOF {
			c.markEnded(dst == c.client)
			if w, ok := dst.(Conn); ok {
				_ = w.CloseWrite()
			}
			return
		}
		if err != nil {
			if dst != c.client || !c.refused(err) {
				c.fail(srcEnd, err)
			}
			return
		}
	}
}

// write writes p to dst and reports whether dst took it.
func (c *copier) write(dst net.Conn, p []byte, dstEnd End) bool {
	n, err := dst.Write(p)
	side := 0
	if dst == c.client {
		side = 1
	}
	c.count[side].Add(int64(n))
	c.mu.Lock()
	c.addToCounters()
	c.mu.Unlock()
	c.moved.Store(int64(time.Since(c.started)))
	if err != nil {
		// What dst sent before it broke off is still on its way: the other
		// direction ends by itself, in the reset.
		c.broken(dstEnd, err)
	}
	return err == nil
}

// addToCounters adds to Options.Counters what has moved since the last time, unless it
// may have to be sent again. mu is held.
func (c *copier) addToCounters() {
	if c.replay.possible() {
		return
	}
	for side := range c.count {
		n := c.count[side].Load()
		c.options.Counters.add(side, n-c.counted[side])
		c.counted[side] = n
	}
}

func (c *copier) keepForReplay(fromUpstream bool, p []byte) {
	side := 0
	if fromUpstream {
		side = 1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.replay.pass(side, p)
}

// refused ends a connection that the upstream has refused and leaves the
// client's side open. It reports whether err says so.
func (c *copier) refused(err error) bool {
	if _, ok := secure.RefusalOf(err); !ok {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || !c.replay.possible() {
		return false
	}
	c.ended, c.end, c.err = true, Refused, err
	c.replay.most += copyBufLen // for what the other direction has read by now
	if c.timer != nil {
		c.timer.Stop()
	}
	_ = c.client.SetReadDeadline(time.Unix(1, 0)) // ends the other direction
	_ = c.upstream.Close()
	return true
}

// broken notes that a side takes no more, and leaves the other direction some
// time to deliver what that side had still sent.
func (c *copier) broken(end End, err error) {
	c.mu.Lock()
	if !c.ended && c.err == nil {
		c.end, c.err = end, err
	}
	c.mu.Unlock()
	c.markEnded(end == UpstreamReset)
	side := c.upstream
	if end == ClientReset {
		side = c.client
	}
	_ = side.SetReadDeadline(time.Now().Add(time.Second))
}

// markEnded starts the timer of a half-closed connection, which the upstream has
// ended or the client.
func (c *copier) markEnded(byUpstream bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.firstEnded {
		c.firstEnded, c.upstreamFirst = true, byUpstream
	}
	c.moved.Store(int64(time.Since(c.started)))
	if c.halfClosed.Store(true); !c.ended {
		c.startTimer()
	}
}

func (c *copier) fail(end End, err error) {
	c.mu.Lock()
	if !c.ended && c.err == nil && !errors.Is(err, net.ErrClosed) {
		c.end, c.err = end, err
	}
	c.mu.Unlock()
	c.stop(end)
}

// stop ends the connection, unless it has ended: cleanly, or with resets.
func (c *copier) stop(end End) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.ended = true
	if c.err == nil {
		c.end = end
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.end == Clean {
		_ = c.client.Close()
		_ = c.upstream.Close()
		return
	}
	secure.Abort(c.client)
	secure.Abort(c.upstream)
}

// startTimer sets the timer for the next moment at which something may be due, or at
// which a dead peer is looked for. mu is held.
func (c *copier) startTimer() {
	wait, _ := c.remaining()
	wait = max(min(wait, deadpeer.Every), time.Millisecond)
	if c.timer == nil {
		c.timer = time.AfterFunc(wait, c.expire)
		return
	}
	c.timer.Reset(wait)
}

func (c *copier) remaining() (time.Duration, End) {
	return c.options.remaining(time.Since(c.started), time.Duration(c.moved.Load()), c.halfClosed.Load())
}

func (c *copier) expire() {
	switch wait, end := c.remaining(); {
	case wait <= 0:
		c.stop(end)
	case peerIsDead(c.client):
		c.fail(ClientReset, deadpeer.Err)
	case peerIsDead(c.upstream):
		c.fail(UpstreamReset, deadpeer.Err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.startTimer()
	}
}

// remaining is how long from now until the first of o's limits is reached, and which
// that is; age and moved are times since the start of the connection.
func (o Options) remaining(age, moved time.Duration, half bool) (time.Duration, End) {
	wait, end := time.Duration(1<<63-1), Clean
	try := func(limit, since time.Duration, e End) {
		if limit > 0 && limit-since < wait {
			wait, end = limit-since, e
		}
	}
	try(o.MaxLifetime, age, Lifetime)
	try(o.IdleTimeout, age-moved, Idle)
	if half {
		try(o.HalfCloseTimeout, age-moved, HalfClose)
	}
	return wait, end
}
