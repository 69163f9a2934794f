package micro

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"connect-proxy/config"
)

// session is a client's connection, with the connections to services that were
// made for it and have no call at this moment.
type session struct {
	server *Server
	client net.Addr
	// running is what answers the client, and what reads from services.
	running sync.WaitGroup

	mu     sync.Mutex // guards what follows
	closed bool
	idle   []*far // the one used last is the last
}

// call sends a message to an instance of its service and returns the header of
// the answer. The exchange is to be ended.
func (s *session) call(ctx context.Context, m *message) (*exchange, *http.Response, *failure) {
	f := s.take(m.to)
	if f == nil {
		generation := s.server.generation.Load()
		c, err := s.server.o.Dial(ctx, m.to, s.client)
		if err != nil {
			return nil, nil, notDialled(err)
		}
		f = newFar(m.to, c, s.server.stallTime)
		f.generation = generation
		s.running.Go(f.read)
	}
	return f.send(ctx, m)
}

// take returns the connection to the destination that has been idle for longest,
// or nil where there is none, or all of few have just had a call.
func (s *session) take(to config.Destination) *far {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 0; i < len(s.idle); {
		f := s.idle[i]
		switch {
		case f.to != to:
			i++
		case f.isBroken():
			s.removeAt(i)
		case f.generation != s.server.generation.Load():
			_ = s.removeAt(i).Close()
		case time.Since(f.since) < restTime && s.count(to) < maxResting:
			return nil
		default:
			return s.removeAt(i)
		}
	}
	return nil
}

// count is how many connections to the destination are idle. The caller holds mu.
func (s *session) count(to config.Destination) (n int) {
	for _, f := range s.idle {
		if f.to == to {
			n++
		}
	}
	return n
}

// put keeps a connection for the next call to its destination. Where there are too
// many, one is closed.
func (s *session) put(f *far) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.count(f.to) >= maxResting {
		_ = f.Close()
		return
	}
	if len(s.idle) == maxIdleOfClient {
		_ = s.removeAt(0).Close()
	}
	if s.server.idle.Add(1) > maxIdle {
		s.server.idle.Add(-1)
		_ = f.Close()
		return
	}
	f.since = time.Now()
	s.idle = append(s.idle, f)
	f.idle = time.AfterFunc(s.server.idleTime, func() { s.expire(f) })
}

// expire closes a connection that had no call for too long.
func (s *session) expire(f *far) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.idle, f); i >= 0 {
		_ = s.removeAt(i).Close()
	}
}

// removeAt takes a connection out of those that are kept. The caller holds mu.
func (s *session) removeAt(i int) *far {
	f := s.idle[i]
	s.idle = slices.Delete(s.idle, i, i+1)
	s.server.idle.Add(-1)
	f.idle.Stop()
	return f
}

// begin adds to what runs, unless the session is over. Who has begun calls
// running.Done.
func (s *session) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.running.Add(1)
	}
	return !s.closed
}

// close ends the session: its client has gone.
func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for len(s.idle) > 0 {
		_ = s.removeAt(len(s.idle) - 1).Close()
	}
}
