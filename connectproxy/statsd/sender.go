package statsd

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/connectproxy/metrics"
)

const (
	// dialTimeout bounds looking up a name and connecting, writeTimeout each packet.
	dialTimeout  = 5 * time.Second
	writeTimeout = time.Second
	// confirmWait is how long a socket is watched for the news that nobody is at its
	// other end.
	confirmWait = 200 * time.Millisecond
	// lastTimeout bounds what is sent at the end: nobody is to wait for it.
	lastTimeout = 300 * time.Millisecond
)

// Options say what is sent, and where.
type Options struct {
	// Name is what the log calls the receiver: the setting that has its address.
	Name string
	// Network is "udp", "tcp" or "unixgram"; Address is host:port, or the path of
	// a socket. Both are required.
	Network, Address string
	// Tagged sends a sample by its Name with tags as DogStatsD has them
	// ("|#name:value"). Otherwise it is sent by its Full name.
	Tagged bool
	// Prefix stands in front of each name, with a dot between; empty means none.
	Prefix string
	// Tags are added to all that is sent, as "name:value", where Tagged is set.
	Tags []string
	// Interval is how often metrics are sent. It must be positive. Required.
	Interval time.Duration
	// Samples is called by Run, and must not block. Required.
	Samples func() []metrics.Sample
	// Logger is told when sending begins to fail, and when it works again. Required.
	Logger hclog.Logger
}

// Sender sends metrics to one receiver. Run is its only method.
type Sender struct {
	o    Options
	conn net.Conn // nil while there is none
	// sent is what counters were when they were last sent.
	sent   map[string]float64
	failed bool // the last round did
}

// New makes a Sender and starts nothing.
func New(o Options) *Sender { return &Sender{o: o} }

// Run sends every Interval until ctx is done, and once more then, for which it
// takes 300 ms at most. What was counted before Run is not sent. A receiver
// that cannot be reached is logged once and tried again at the next Interval. Run
// returns ctx's error and is called once.
func (s *Sender) Run(ctx context.Context) error {
	defer s.disconnect()
	// What was counted before is not what happened now.
	s.sent = countersOf(encode(s.o, nil))
	tick := time.NewTicker(s.o.Interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.round(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTimeout)
			defer cancel()
			s.round(last)
			return ctx.Err()
		}
	}
}

// round sends everything once, and says so where that is news.
func (s *Sender) round(ctx context.Context) {
	switch err := s.send(ctx); {
	case err == nil && s.failed:
		s.failed = false
		s.o.Logger.Info("metrics are sent again", "to", s.o.Name, "address", s.o.Address)
	case err != nil && !s.failed && ctx.Err() == nil:
		s.failed = true
		s.o.Logger.Warn("metrics cannot be sent", "to", s.o.Name, "address", s.o.Address, "error", err)
	}
}

func (s *Sender) send(ctx context.Context) error {
	if s.conn == nil {
		d := net.Dialer{Timeout: dialTimeout}
		conn, err := d.DialContext(ctx, s.o.Network, s.o.Address)
		if err != nil {
			return explain(err)
		}
		s.conn = conn
	}
	packets := encode(s.o, s.sent)
	for i, p := range packets {
		_ = s.conn.SetWriteDeadline(soonest(ctx, writeTimeout))
		if _, err := s.conn.Write(p.lines); err != nil {
			s.disconnect()
			if errors.Is(err, os.ErrDeadlineExceeded) {
				// The receiver is there and slow: it has what was sent so far, and
				// would count that twice.
				maps.Copy(s.sent, countersOf(packets[:i]))
			}
			return explain(err)
		}
	}
	if err := s.confirm(ctx); err != nil {
		s.disconnect()
		return explain(err)
	}
	s.sent = countersOf(packets)
	return nil
}

// confirm returns the error by which the far side's machine, or the far side
// itself, says that it does not listen: it comes after a packet is gone. No
// receiver answers otherwise.
func (s *Sender) confirm(ctx context.Context) error {
	_ = s.conn.SetReadDeadline(soonest(ctx, confirmWait))
	var b [64]byte
	_, err := s.conn.Read(b[:])
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// soonest is in d, or ctx's deadline where that is earlier.
func soonest(ctx context.Context, d time.Duration) time.Time {
	at := time.Now().Add(d)
	if end, ok := ctx.Deadline(); ok && end.Before(at) {
		return end
	}
	return at
}

var (
	errNobody = errors.New("connection refused: nobody listens there")
	errClosed = errors.New("the other side has closed the connection")
)

// explain says in a few words what is wrong.
func explain(err error) error {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return errNobody
	case errors.Is(err, io.EOF):
		return errClosed
	}
	return err
}

func (s *Sender) disconnect() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}
