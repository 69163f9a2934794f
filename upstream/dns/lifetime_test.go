package dns

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"connect-proxy/listener/listenertest"
	"connect-proxy/upstream"
)

// lasting is a server of the DNS whose answers are valid for so long: its addresses'
// of IPv4 and IPv6, and its records'. Over UDP it answers that the answer is too long
// where truncated is set.
type lasting struct {
	ipv4, ipv6, record uint32 // s
	alias              uint32 // of a CNAME in front of the addresses; 0: none
	truncated          bool
}

func (s lasting) answer(question []byte, tcp bool) []byte {
	var m dnsmessage.Message
	if m.Unpack(question) != nil || len(m.Questions) != 1 {
		return nil
	}
	m.Response, m.Additionals = true, nil
	name := m.Questions[0].Name
	add := func(ttl uint32, body dnsmessage.ResourceBody) {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: ttl}, Body: body,
		})
	}
	if m.Truncated = s.truncated && !tcp; m.Truncated {
		b, _ := m.Pack()
		return b
	}
	if s.alias > 0 && m.Questions[0].Type != dnsmessage.TypeSRV {
		other := dnsmessage.MustNewName("other.example.org.")
		add(s.alias, &dnsmessage.CNAMEResource{CNAME: other})
		name = other
	}
	switch m.Questions[0].Type {
	case dnsmessage.TypeA:
		add(s.ipv4, &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}})
	case dnsmessage.TypeAAAA:
		add(s.ipv6, &dnsmessage.AAAAResource{AAAA: netip.IPv6Loopback().As16()})
	case dnsmessage.TypeSRV:
		add(s.record, &dnsmessage.SRVResource{Port: 6379, Target: dnsmessage.MustNewName("a.example.org.")})
	}
	b, _ := m.Pack()
	return b
}

// resolver starts the server on a port for datagrams and one for streams.
func (s lasting) resolver(t *testing.T) *net.Resolver {
	t.Helper()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	streams, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{}, 2)
	go func() {
		defer func() { ended <- struct{}{} }()
		for b := make([]byte, 1<<12); ; {
			n, from, err := packets.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = packets.WriteTo(s.answer(b[:n], false), from)
		}
	}()
	go func() {
		defer func() { ended <- struct{}{} }()
		for {
			c, err := streams.Accept()
			if err != nil {
				return
			}
			s.serve(c)
		}
	}()
	t.Cleanup(func() { packets.Close(); streams.Close(); <-ended; <-ended })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		to := packets.LocalAddr().String()
		if network == "tcp" {
			to = streams.Addr().String()
		}
		return new(net.Dialer).DialContext(ctx, network, to)
	}}
}

// serve answers one question, a byte at a time.
func (s lasting) serve(c net.Conn) {
	defer c.Close()
	question := make([]byte, 2)
	if _, err := io.ReadFull(c, question); err != nil {
		return
	}
	question = make([]byte, binary.BigEndian.Uint16(question))
	if _, err := io.ReadFull(c, question); err != nil {
		return
	}
	answer := s.answer(question, true)
	for _, b := range append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...) {
		if _, err := c.Write([]byte{b}); err != nil {
			return
		}
	}
}

func TestAnAnswerIsUsedForAsLongAsItIsValid(t *testing.T) {
	for name, c := range map[string]struct {
		destination string
		server      lasting
		want        time.Duration
	}{
		"addresses":                    {"redis.example.org:6379", lasting{ipv4: 20, ipv6: 20}, 20 * time.Second},
		"the first of them that ends":  {"redis.example.org:6379", lasting{ipv4: 30, ipv6: 7}, 7 * time.Second},
		"an alias that ends before":    {"redis.example.org:6379", lasting{ipv4: 30, ipv6: 30, alias: 9}, 9 * time.Second},
		"records":                      {"_redis._tcp.example.org", lasting{record: 12}, 12 * time.Second},
		"over TCP":                     {"redis.example.org:6379", lasting{ipv4: 20, ipv6: 15, truncated: true}, 15 * time.Second},
		"for no time":                  {"redis.example.org:6379", lasting{}, leastPace},
		"for a day":                    {"redis.example.org:6379", lasting{ipv4: 86400, ipv6: 86400}, restPace},
		"a negative one, which is 0":   {"redis.example.org:6379", lasting{ipv4: 1 << 31, ipv6: 20}, leastPace},
		"a name that asks for nothing": {"127.0.0.1:6379", lasting{}, usePace},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := New(Options{
				Name: c.destination, Label: "redis", Lookup: c.server.resolver(t),
				Identity: func(host string) upstream.Identity { return upstream.Identity{Host: host} },
			})
			if err := r.ask(t.Context()); err != nil {
				t.Fatal(err)
			}
			if pace := r.pace(); pace < restPace*9/10 || pace > restPace {
				t.Errorf("asked again after %s at rest", pace)
			}
			r.used.Store(int64(time.Since(r.epoch)) + 1)
			least, most := c.want, min(c.want*11/10, restPace)
			if c.want == usePace {
				least, most = c.want*9/10, c.want
			}
			if pace := r.pace(); pace < least || pace > most {
				t.Errorf("asked again after %s, want %s to %s", pace, least, most)
			}
		})
	}
}

// What an answer said holds until the next one.
func TestALifetimeIsForgottenWithItsAnswer(t *testing.T) {
	var l lifetimes
	r := l.observed(lasting{ipv4: 20, ipv6: 20}.resolver(t))
	l.begin()
	if _, err := r.LookupNetIP(t.Context(), "ip", "redis.example.org"); err != nil {
		t.Fatal(err)
	}
	if valid, known := l.shortest(); !known || valid != 20*time.Second {
		t.Errorf("%s, %t", valid, known)
	}
	l.begin()
	if _, known := l.shortest(); known {
		t.Error("the answer before the question is known")
	}
}

func TestADestinationOverUDPIsAskedForByItsLifetime(t *testing.T) {
	r := New(Options{
		Name: "redis.example.org:6379", Label: "redis", Lookup: lasting{ipv4: 1, ipv6: 1}.resolver(t),
		Identity: func(host string) upstream.Identity { return upstream.Identity{Host: host} },
	})
	r.used.Store(1)
	listenertest.Run(t, r.Run)
	began := time.Now()
	for range 2 {
		r.mu.Lock()
		answered := r.next
		r.mu.Unlock()
		select {
		case <-answered:
		case <-time.After(20 * time.Second):
			t.Fatal("not asked again")
		}
	}
	if took := time.Since(began); took < leastPace*9/10 {
		t.Errorf("asked again after %s", took)
	}
}

func FuzzLifetimes(f *testing.F) {
	q := dnsmessage.Message{Questions: []dnsmessage.Question{{
		Name: dnsmessage.MustNewName("redis.example.org."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET,
	}}}
	question, err := q.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(question)
	f.Add(lasting{ipv4: 20, alias: 5}.answer(question, false))
	f.Add(lasting{truncated: true}.answer(question, false))
	f.Fuzz(func(t *testing.T, message []byte) {
		var l lifetimes
		l.read(message)
		valid, known := l.shortest()
		var m dnsmessage.Message
		if m.Unpack(message) != nil {
			return // what stands before the fault counts, if anything does
		}
		answers := m.Response && m.RCode == dnsmessage.RCodeSuccess && len(m.Answers) > 0
		if known != answers || known && (valid < 0 || valid > (1<<31-1)*time.Second) {
			t.Errorf("%s, %t for %+v", valid, known, m)
		}
	})
}
