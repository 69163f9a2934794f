package statsd

import (
	"bufio"
	"context"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counted is what a proxy would have counted.
type counted struct {
	mu    sync.Mutex
	bytes float64
}

func (c *counted) add(n float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes += n
}

func (c *counted) samples() []metrics.Sample {
	c.mu.Lock()
	defer c.mu.Unlock()
	tags := []metrics.Tag{{Name: "dst", Value: "w:e|b\n"}}
	return []metrics.Sample{
		{Name: "inbound.tx_bytes", Full: "inbound.tx_bytes.web", Tags: tags, Value: c.bytes},
		{Name: "inbound.conns", Full: "host.inbound.conns.web", Tags: tags, Gauge: true, Value: 3},
	}
}

// sending runs a Sender until stop is called, which returns once it has ended.
func sending(t *testing.T, o Options) (c *counted, l *agenttest.Log, stop func()) {
	t.Helper()
	c, l = &counted{bytes: 1 << 30}, &agenttest.Log{}
	o.Name, o.Prefix, o.Interval, o.Samples = "test", "consul.proxy.web", 20*time.Millisecond, c.samples
	o.Logger = hclog.New(&hclog.LoggerOptions{Output: l})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	s := New(o)
	go func() { defer close(ended); _ = s.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(stop)
	return c, l, stop
}

// until waits for what has to come.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
		<-tick.C
	}
}

// receiver reads lines from wherever they come.
type receiver struct {
	mu    sync.Mutex
	lines []string
}

func (r *receiver) read(c net.Conn) {
	buf := make([]byte, 1<<16)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		r.mu.Lock()
		for line := range strings.Lines(string(buf[:n])) {
			r.lines = append(r.lines, strings.TrimSuffix(line, "\n"))
		}
		r.mu.Unlock()
	}
}

func (r *receiver) got(line string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.lines, line)
}

// listen has a receiver of datagrams.
func listen(t *testing.T, network, address string) (*receiver, net.PacketConn) {
	t.Helper()
	var conn net.PacketConn
	var err error
	if network == "udp" {
		conn, err = net.ListenPacket(network, address)
	} else {
		conn, err = net.ListenUnixgram(network, &net.UnixAddr{Name: address, Net: network})
	}
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{}
	var reading sync.WaitGroup
	reading.Go(func() { r.read(conn.(net.Conn)) })
	t.Cleanup(func() { conn.Close(); reading.Wait() })
	return r, conn
}

func TestWhatCountersGrowByIsSentUnderFullNames(t *testing.T) {
	r, conn := listen(t, "udp", "127.0.0.1:0")
	c, _, _ := sending(t, Options{Network: "udp", Address: conn.LocalAddr().String()})
	until(t, "a gauge", func() bool { return r.got("consul.proxy.web.host.inbound.conns.web:3|g") })
	c.add(512) // beside the 2^30 of before, which a 32-bit float would swallow
	until(t, "what was added", func() bool { return r.got("consul.proxy.web.inbound.tx_bytes.web:512|c") })
	until(t, "nothing more", func() bool { return r.got("consul.proxy.web.inbound.tx_bytes.web:0|c") })
}

func TestTagsGoToThoseWhoKnowThemAndNoNameCanForgeALine(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("windows has no datagrams on unix sockets")
	}
	path := filepath.Join(t.TempDir(), "dog.sock")
	r, _ := listen(t, "unixgram", path)
	sending(t, Options{Network: "unixgram", Address: path, Tagged: true, Tags: []string{"az:a,b", "canary"}})
	until(t, "a gauge with tags", func() bool { return r.got("consul.proxy.web.inbound.conns:3|g|#az:a_b,canary,dst:w_e_b_") })
}

func TestAStatsiteIsSentTheSameOverTCP(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, l, _ := sending(t, Options{Network: "tcp", Address: ln.Addr().String()})
	for range 2 { // the second time after it has closed the connection
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || line != "consul.proxy.web.inbound.tx_bytes.web:0|c\n" {
			t.Errorf("%q, %v", line, err)
		}
		conn.Close()
	}
	until(t, "a line that says so", func() bool { return l.Count("the other side has closed the connection") > 0 })
}

func TestAStatsdThatIsNotThereIsSaidOnceAndMissesNothing(t *testing.T) {
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.LocalAddr().String()
	free.Close()
	c, l, _ := sending(t, Options{Network: "udp", Address: address})
	until(t, "a warning", func() bool { return l.Count("metrics cannot be sent") > 0 && l.Count("nobody listens there") > 0 })
	c.add(512)
	r, _ := listen(t, "udp", address)
	until(t, "it works again", func() bool { return l.Count("metrics are sent again") > 0 })
	until(t, "what was missed", func() bool { return r.got("consul.proxy.web.inbound.tx_bytes.web:512|c") })
	if n := l.Count("metrics cannot be sent"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

// datagramSocket is a receiver that reads nothing by itself.
func datagramSocket(t *testing.T) (path string, conn *net.UnixConn) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("windows has no datagrams on unix sockets")
	}
	path = filepath.Join(t.TempDir(), "dog.sock")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return path, conn
}

func TestAReceiverThatDoesNotReadHoldsUpNobodysEnd(t *testing.T) {
	path, _ := datagramSocket(t)
	many := func() []metrics.Sample { // more than a socket holds
		all := make([]metrics.Sample, 1000)
		for i := range all {
			all[i] = metrics.Sample{Full: strings.Repeat("x", 1000), Gauge: true}
		}
		return all
	}
	l := &agenttest.Log{}
	s := New(Options{Name: "test", Network: "unixgram", Address: path, Interval: time.Millisecond, Samples: many, Logger: hclog.New(&hclog.LoggerOptions{Output: l})})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Run(ctx) }()
	until(t, "a warning", func() bool { return l.Count("metrics cannot be sent") > 0 })
	cancel()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
}

// A receiver that takes some packets and then none for a moment has those some:
// what is in them is not sent again.
func TestNothingIsCountedTwiceByAReceiverThatIsSlow(t *testing.T) {
	path, conn := datagramSocket(t)
	var value atomic.Int64
	const names = 500 // in more packets than a socket holds
	many := func() []metrics.Sample {
		all := make([]metrics.Sample, names)
		for i := range all {
			all[i] = metrics.Sample{Full: strings.Repeat("x", 1000) + strconv.Itoa(i), Value: float64(value.Load())}
		}
		return all
	}
	l := &agenttest.Log{}
	s := New(Options{Name: "test", Network: "unixgram", Address: path, Interval: 20 * time.Millisecond, Samples: many, Logger: hclog.New(&hclog.LoggerOptions{Output: l})})
	s.sent = countersOf(encode(s.o, nil))
	value.Store(1)
	s.round(t.Context())
	if l.Count("metrics cannot be sent") != 1 {
		t.Fatal("the socket takes everything")
	}
	r := &receiver{}
	var reading sync.WaitGroup
	reading.Go(func() { r.read(conn) })
	defer func() { conn.Close(); reading.Wait() }()
	until(t, "it is sent again", func() bool { s.round(t.Context()); return !s.failed })
	s.disconnect()
	got := make(map[string]int)
	until(t, "all has come", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		clear(got)
		for _, line := range r.lines {
			if name, ok := strings.CutSuffix(line, ":1|c"); ok {
				got[name]++
			}
		}
		return len(got) == names
	})
	for name, n := range got {
		if n != 1 {
			t.Errorf("%s… was counted %d times", name[len(name)-5:], n)
		}
	}
}

func TestPacketsFitAnEthernet(t *testing.T) {
	c := &counted{}
	many := func() []metrics.Sample {
		var all []metrics.Sample
		for range 100 {
			all = append(all, c.samples()...)
		}
		return all
	}
	packets := encode(Options{Tagged: true, Samples: many}, nil)
	lines := 0
	for _, p := range packets {
		if len(p.lines) > maxPacket {
			t.Errorf("%d bytes", len(p.lines))
		}
		lines += strings.Count(string(p.lines), "\n")
	}
	if lines != 200 {
		t.Errorf("%d lines of 200", lines)
	}
}
