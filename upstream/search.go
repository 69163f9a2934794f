package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

const (
	// shares is how many ways the time left is divided while there are other
	// instances to try.
	shares = 3
	// fairShare is the part of ConnectTimeout, one in so many, below which a
	// timeout says more about those tried before than about the instance.
	fairShare = 8
	// fewInstances is for how many instances a search needs no memory.
	fewInstances = 16
	// mostTries is how many instances are tried for one connection. Each that fails
	// is set aside, so that the next connection goes on with others.
	mostTries = 256
	// mostLastResorts is how many of those that are set aside are tried. Where all
	// are, a client that comes again and again would have each dialled every time.
	mostLastResorts = 16
)

// search looks for an instance that takes a connection. It tries each once, for
// as long as there is time and up to mostTries.
type search struct {
	u       *Upstream
	o       *Options
	timeout time.Duration // for everything
	not     excluded
	// attempts are those in vain, lastResorts those among them that were set aside.
	attempts    []Attempt
	lastResorts int
}

// next connects to an instance that has not been tried.
func (s *search) next(ctx context.Context) (*Conn, error) {
	u := s.u
	var space [fewInstances]*instance
	not := append(excluded(space[:0]), s.not...)
	by, r := policies[s.o.Balance], s.o.request(ctx)
	untried := 0
	for ctx.Err() == nil {
		now := u.now()
		p := u.current(now)
		untried = len(p.all) - len(not)
		if len(not) >= mostTries {
			break
		}
		c, ok := u.pick(p, by, r, not, now, s.lastResorts < mostLastResorts)
		if !ok {
			break
		}
		if c.lastResort {
			s.lastResorts++
		}
		not = append(not, c.instance)
		conn, err := u.attempt(ctx, s.o, c, len(p.all)-len(not), s.timeout/fairShare)
		if err == nil {
			return s.found(c, conn, not), nil
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			break // the attempt is no failure of the instance
		}
		s.attempts = append(s.attempts, Attempt{
			Instance: c.ep.ID, Address: c.ep.Address, Err: err, Duration: time.Duration(u.now() - c.start),
		})
		if errors.Is(err, errNoFiles) {
			untried = len(p.all) - len(not)
			break // the next would fail as well
		}
	}
	if len(s.attempts) == 0 && ctx.Err() == nil {
		return nil, u.noEndpoints(s.o, nil) // the last instance has just gone
	}
	return nil, &DialError{Upstream: s.o.Name, Attempts: s.attempts, Untried: max(untried, 0), Cause: ctx.Err()}
}

// found makes the connection of an attempt that succeeded. Where it was the
// first one, what it has to remember is its instance alone.
func (s *search) found(c claim, conn net.Conn, not excluded) *Conn {
	found := &Conn{Conn: conn, Endpoint: c.ep, u: s.u, in: c.instance, start: c.start, probe: c.probe}
	if len(not) > 1 {
		found.excluded = append(excluded(nil), not...)
		found.attempts = s.attempts
	}
	if s.u.distrusted(c) {
		found.proven = time.AfterFunc(provenAfter, func() { found.prove() })
	}
	return found
}

// attempt tries the instance that c claims, within a share of the time if there
// are others to try. With less time than fair it gets no blame.
func (u *Upstream) attempt(ctx context.Context, o *Options, c claim, others int, fair time.Duration) (net.Conn, error) {
	deadline, _ := ctx.Deadline()
	bound := time.Until(deadline)
	one := ctx
	if others > 0 {
		bound /= time.Duration(min(others+1, shares))
		var cancel context.CancelFunc
		one, cancel = context.WithTimeout(ctx, bound)
		defer cancel()
	}
	conn, err := o.Dial(one, c.ep)
	switch {
	case err == nil && conn == nil:
		err = errNoConn
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		err = fmt.Errorf("%w: %w", err, errNoFiles)
	}
	if err == nil {
		u.connected.Add(1)
		if !u.distrusted(c) {
			u.succeeded(c)
		}
		return conn, nil
	}
	c.live.Add(-1)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		c.abandoned() // the client went away
	case errors.Is(err, errNoFiles):
		c.abandoned()
	case one.Err() != nil && bound < fair:
		c.abandoned() // what was left of the time was not enough to tell
	default:
		u.failed(c, o, err)
	}
	return nil, err
}
