//go:build linux

package peer

import (
	"context"
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
	first, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	p := &Pair{Kind: k, Version: version, lab: l, site: site{listen: first, between: first + 1}}
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

// Start starts both processes and waits until a first request was answered
// through them.
func (p *Pair) Start(ctx context.Context) error {
	commands, err := p.Kind.commands(ctx, p.lab, p.site)
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

func portOf(address string) int {
	_, text, _ := net.SplitHostPort(address)
	port, _ := strconv.Atoi(text) // ours, and so always a number
	return port
}
