package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mholt/acmez/v3"
)

const (
	// shortestRetry and longestRetry are the waits between orders that fail: CAs
	// take few of those from anybody. The first is also the least time between
	// two orders for a host.
	shortestRetry, longestRetry = time.Minute, time.Hour
	// checkInterval is how often at least it is checked what is due: a timer
	// does not see that the machine has slept.
	checkInterval = time.Hour
	// warnInterval is how often a certificate that is not renewed is told of.
	warnInterval = 24 * time.Hour
	// maxReason bounds what a CA can have said in the log, in bytes.
	maxReason = 500
)

// orders are certificates by ACME.
type orders struct {
	o          Options
	cache      cache
	hosts      []*hostOrders
	challenges challenges
	ca         *caClient // run's; nil until its files could be read
	// unusable is why nothing can be ordered; nil where it can.
	unusable atomic.Pointer[string]
	// The times are fields for tests.
	shortestRetry, checkInterval time.Duration
}

// hostOrders is a host's certificate. What is not atomic is run's.
type hostOrders struct {
	host string
	held atomic.Pointer[tls.Certificate] // nil until there is one
	// problem is why there is none, or no new one; nil for none.
	problem atomic.Pointer[string]
	next    time.Time
	wait    time.Duration // after another failure
	warned  time.Time
}

func newOrders(o Options) *orders {
	s := &orders{o: o, cache: newCache(o.ACME.CacheDir, o.ACME.DirectoryURL), shortestRetry: shortestRetry, checkInterval: checkInterval}
	for _, host := range o.Hosts {
		if host = strings.ToLower(host); !slices.ContainsFunc(s.hosts, func(h *hostOrders) bool { return h.host == host }) {
			s.hosts = append(s.hosts, &hostOrders{host: host})
		}
	}
	return s
}

func (s *orders) get(host string, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acmez.ACMETLS1Protocol {
		return s.challenges.get(host)
	}
	for _, h := range s.hosts {
		if c := h.held.Load(); h.host == host && c != nil {
			return c, nil
		}
	}
	return nil, errNoCertificate
}

func (s *orders) takeOver(from certificateSource) {
	old, ok := from.(*orders)
	if !ok || old.o.ACME.DirectoryURL != s.o.ACME.DirectoryURL || old.cache != s.cache {
		return // what is kept in another place may be given up for a reason
	}
	for _, h := range s.hosts {
		for _, had := range old.hosts {
			if c := had.held.Load(); had.host == h.host && c != nil && time.Now().Before(c.Leaf.NotAfter) {
				s.use(h, c)
			}
		}
	}
}

func (s *orders) problems() (all []string) {
	if why := s.unusable.Load(); why != nil {
		all = append(all, "edge: no certificate is renewed: "+*why)
	}
	for _, h := range s.hosts {
		why, c := h.problem.Load(), h.held.Load()
		switch {
		case c == nil && why == nil:
			all = append(all, fmt.Sprintf("edge: no certificate for %s: it is being ordered", h.host))
		case c == nil:
			all = append(all, fmt.Sprintf("edge: no certificate for %s: %s", h.host, *why))
		case why != nil && time.Now().After(c.Leaf.NotAfter):
			all = append(all, fmt.Sprintf("edge: the certificate for %s has expired: %s", h.host, *why))
		}
	}
	return all
}

func (s *orders) run(ctx context.Context) error {
	for {
		wait := s.renewDue(ctx, time.Now())
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			if s.ca != nil {
				s.ca.close()
			}
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// renewDue restores and orders what is due, and returns how long until the next is. What is kept comes
// first, for all hosts: an order may take long, and is for one host alone.
func (s *orders) renewDue(ctx context.Context, now time.Time) time.Duration {
	usable := s.prepare(ctx)
	s.recordUsable(usable)
	for _, h := range s.hosts {
		if h.next.After(now) || h.held.Load() != nil {
			continue
		}
		if err := s.restore(h, now); err != nil && usable == nil {
			s.o.Logger.Warn("what was kept is not used, and another is ordered", "host", h.host, "error", oneLine(err))
		}
	}
	next := now.Add(s.checkInterval)
	if usable != nil {
		next = now.Add(s.shortestRetry)
	}
	for _, h := range s.hosts {
		switch {
		case h.next.After(now) || ctx.Err() != nil:
		case usable != nil:
			s.postponed(h, oneLine(usable), next)
		default:
			c, err := s.order(ctx, h.host)
			if ctx.Err() != nil {
				return 0
			}
			s.ordered(h, c, err)
		}
		if h.next.Before(next) {
			next = h.next
		}
	}
	return max(0, time.Until(next))
}

// prepare reads what orders need, and returns why it cannot be used.
func (s *orders) prepare(ctx context.Context) (err error) {
	if err := s.cache.check(); err != nil || s.ca != nil {
		return err
	}
	s.ca, err = newCAClient(ctx, s.o.ACME)
	return err
}

// recordUsable keeps why nothing can be ordered; nil means that it can. It logs each
// change.
func (s *orders) recordUsable(err error) {
	if err == nil {
		if s.unusable.Swap(nil) != nil {
			s.o.Logger.Info("certificates can be ordered and renewed again")
		}
		return
	}
	why := oneLine(err)
	if was := s.unusable.Swap(&why); was == nil || *was != why {
		s.o.Logger.Error("no certificate can be ordered or renewed", "error", why)
	}
}

// restore takes over what the cache has for a host, also where nothing can be
// ordered.
func (s *orders) restore(h *hostOrders, now time.Time) error {
	text, err := s.cache.get(h.host)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	c, err := readCertificate(h.host, text, text, now)
	if err == nil {
		s.use(h, c)
	}
	return err
}

// ordered notes what an order has come to.
func (s *orders) ordered(h *hostOrders, c *tls.Certificate, err error) {
	if err == nil {
		s.use(h, c)
		return
	}
	why := oneLine(err)
	h.problem.Store(&why)
	h.wait = min(max(2*h.wait, s.shortestRetry), longestRetry)
	h.next = time.Now().Add(h.wait)
	if h.held.Load() == nil {
		s.o.Logger.Warn("no certificate", "host", h.host, "error", why, "retry_in", h.wait.String())
		return
	}
	s.warn(h, why)
}

// postponed notes why an order has to wait for something of this machine. The CA was
// not asked, and so need not be spared.
func (s *orders) postponed(h *hostOrders, why string, next time.Time) {
	h.problem.Store(&why)
	h.next = next
	if h.held.Load() != nil {
		s.warn(h, why)
	}
}

// warn tells now and then of a certificate in use that comes to its end.
func (s *orders) warn(h *hostOrders, why string) {
	held := h.held.Load()
	if left, life := time.Until(held.Leaf.NotAfter), lifeOf(held); left > life/4 || time.Since(h.warned) < warnInterval {
		return
	}
	h.warned = time.Now()
	s.o.Logger.Warn("the certificate is not renewed", "host", h.host, "not_after", day(held.Leaf.NotAfter), "error", why,
		"hint", fmt.Sprintf("can %s be reached, and this listener at port 443 of the host?", s.o.ACME.DirectoryURL))
}

// use has clients see a certificate until the last third of its life, when another
// is ordered.
func (s *orders) use(h *hostOrders, c *tls.Certificate) {
	h.held.Store(c)
	h.problem.Store(nil)
	h.wait = 0
	h.next = c.Leaf.NotAfter.Add(-lifeOf(c) / 3)
	if soonest := time.Now().Add(s.shortestRetry); h.next.Before(soonest) {
		h.next = soonest
	}
	s.o.Logger.Info("certificate in force", "host", h.host, "issuer", c.Leaf.Issuer.String(), "not_after", day(c.Leaf.NotAfter))
}

func lifeOf(c *tls.Certificate) time.Duration { return c.Leaf.NotAfter.Sub(c.Leaf.NotBefore) }

// oneLine is an error that a CA may have written.
func oneLine(err error) string {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(err.Error(), "?")), " ")
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "..."
	}
	return text
}
