//go:build linux

package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"time"

	"connect-proxy/connectproxy/agenttest/traffic"
	"connect-proxy/connectproxy/bench/load"
	"connect-proxy/connectproxy/bench/proc"
)

// site is where a pair works.
type site struct {
	listen, between int
	// named is where the client's side is told where to go; zero for kinds that
	// cannot be.
	named int
	// calls is where clients of Micro call services; zero for kinds that they
	// cannot call through.
	calls int
	// agent is the address at which the proxies find it.
	agent string
}

// Pair is two processes of a kind, the proxy beside the client and that beside
// the server.
type Pair struct {
	Kind Kind
	// Version is the program's own word.
	Version string

	lab       *Lab
	site      site
	processes []*process
}

// Prepare finds or builds what a pair of this kind needs. Its error says what
// is missing.
func (l *Lab) Prepare(ctx context.Context, k Kind) (*Pair, error) {
	version, err := k.find(ctx, l)
	if err != nil {
		return nil, err
	}
	first, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	p := &Pair{Kind: k, Version: version, lab: l, site: site{listen: first, between: first + 1}}
	if k.Name == Ours {
		p.site.named, p.site.calls = first+2, first+3
	}
	if k.Agent {
		p.site.agent = l.agent.address
		if err := l.register(k.service, p.site); err != nil {
			return nil, err
		}
	}
	l.pairs = append(l.pairs, p)
	return p, nil
}

// Address is where clients connect.
func (p *Pair) Address() string { return loopback(p.site.listen) }

// ByName is where clients connect that name the service, and its name.
func (p *Pair) ByName() (address, name string) {
	_, server := services(p.Kind.service)
	return loopback(p.site.named), server
}

// Calls is where clients of Micro call services, and the name of the pair's.
func (p *Pair) Calls() (address, name string) {
	_, server := services(p.Kind.service)
	return loopback(p.site.calls), server
}

// Application is where the service itself listens.
func (p *Pair) Application() string { return p.lab.app }

// Start starts both processes and waits until a first request was answered
// through them.
func (p *Pair) Start(ctx context.Context) error {
	commands, err := p.Kind.commandsAt(ctx, p.lab, p.site)
	if err != nil {
		return fmt.Errorf("configuring %s: %w", p.Kind.Name, err)
	}
	for i, side := range []string{"server", "client"} {
		one, err := p.lab.start(p.Kind.service+"-"+side, withLimit(p.Kind.limit, commands[i]))
		if err != nil {
			return err
		}
		p.processes = append(p.processes, one)
	}
	client := load.NewClient(p.Address())
	err = until(ctx, 30*time.Second, func() error {
		for _, one := range p.processes {
			if err := one.running(); err != nil {
				return err
			}
		}
		return client.Check(ctx)
	})
	if err != nil {
		return fmt.Errorf("waiting for an answer through %s: %w", p.Kind.Name, err)
	}
	return nil
}

// Stop ends both processes, if they run.
func (p *Pair) Stop() {
	for _, one := range p.processes {
		one.stop()
	}
	p.processes = nil
}

// Restart gives the pair new processes, which remember nothing.
func (p *Pair) Restart(ctx context.Context) error {
	p.Stop()
	return p.Start(ctx)
}

// CPU is what both have spent, what they started included.
func (p *Pair) CPU() (time.Duration, error) { return sum(p.processes, proc.CPU) }

// Caller is how the server's proxy is called by somebody who has the client's
// certificate from the agent, for a kind that works with one: the address, and a
// configuration that offers the key exchanges that the pair's own client would.
func (p *Pair) Caller() (address string, cfg *tls.Config, err error) {
	client, _ := services(p.Kind.service)
	leaf, _, err := p.lab.agent.client.Agent().ConnectCALeaf(client, nil)
	if err != nil {
		return "", nil, fmt.Errorf("asking the agent for a certificate: %w", err)
	}
	cert, err := tls.X509KeyPair([]byte(leaf.CertPEM), []byte(leaf.PrivateKeyPEM))
	if err != nil {
		return "", nil, fmt.Errorf("reading the agent's certificate: %w", err)
	}
	cfg = &tls.Config{
		MinVersion: tls.VersionTLS13,
		// It proves no host name, and who it is does not matter here.
		InsecureSkipVerify: true,
		// Whichever authorities the server names.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil },
		CurvePreferences:     []tls.CurveID{tls.CurveP256, tls.CurveP384},
	}
	if p.Kind.Hybrid {
		cfg.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384}
	}
	return loopback(p.site.between), cfg, nil
}

// ServerCPU is what the server's proxy has spent.
func (p *Pair) ServerCPU() (time.Duration, error) { return sum(p.processes[:1], proc.CPU) }

// Resident is the memory that both hold, in bytes.
func (p *Pair) Resident() (int64, error) { return sum(p.processes, proc.Resident) }

// Descriptors is how many both have open.
func (p *Pair) Descriptors() (int, error) { return sum(p.processes, proc.Descriptors) }

// Counted has the pair's next processes talk to the agent through a counter,
// until stop is called. The processes are to be restarted after either.
func (p *Pair) Counted() (count func() int, stop func(), err error) {
	if !p.Kind.Agent {
		return nil, nil, errors.New(p.Kind.Name + " asks no agent")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, fmt.Errorf("binding the agent's front: %w", err)
	}
	agent := &url.URL{Scheme: "http", Host: p.lab.agent.address}
	front := traffic.New(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(agent) },
		Transport: &http.Transport{MaxIdleConnsPerHost: 100},
		// A watch that its proxy gave up is no news.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
	server := &http.Server{Handler: front, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(ln) // ends with stop
	}()
	p.site.agent = ln.Addr().String()
	return func() int { return front.Requests(traffic.All) }, func() {
		p.site.agent = p.lab.agent.address
		front.Close()
		server.Close()
		<-done
	}, nil
}

// withLimit has the command start with a soft limit of descriptors.
func withLimit(limit string, args []string) []string {
	return append([]string{"/bin/sh", "-c", `ulimit -Sn "$0"; exec "$@"`, limit}, args...)
}

func hostOf(address string) string {
	host, _, _ := net.SplitHostPort(address)
	return host
}

func portOf(address string) int {
	_, text, _ := net.SplitHostPort(address)
	port, _ := strconv.Atoi(text) // ours, and so always a number
	return port
}
