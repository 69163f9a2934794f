package connectproxy

import (
	"reflect"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/admin"
)

// slowStart is how long a start may take before its reasons are worth a line.
const slowStart = 5 * time.Second

// mostSaid bounds the warnings remembered as logged.
const mostSaid = 256

// said is what has been logged, so that nothing is said twice.
type said struct {
	warnings map[string]bool
	inForce  inForce
	// ready is the readiness last told; toldReady whether any was.
	ready, toldReady bool
	last             readiness // as the registrar was last woken for
}

// inForce is what an operator wants to see once at start, and again when it
// changes. The leaf's expiry and serial are not part of it: they change with
// each renewal, which has a line of its own.
type inForce struct {
	mode, proxyID, peer string
	public, local       string
	tls                 config.TLS
	roots               []string
	upstreams           []upstreamInForce
}

type upstreamInForce struct {
	name, address, balance string
	connectTimeout         time.Duration
}

// tell says what has changed, in the log and to the registrar.
func (p *Proxy) tell() {
	if p.config == nil {
		p.tellReadiness(p.Status())
		return
	}
	p.tellWarnings()
	s := p.Status()
	if p.duty.ready() {
		p.tellInForce()
	}
	p.tellReadiness(s)
	if now := (readiness{ready: s.Ready, reasons: s.Reasons}); !reflect.DeepEqual(now, p.said.last) {
		p.said.last = now
		p.poke()
	}
}

// tellWarnings names each setting that is not honoured, once.
func (p *Proxy) tellWarnings() {
	for _, w := range p.config.Warnings {
		if p.said.warnings[w] {
			continue
		}
		if p.said.warnings == nil || len(p.said.warnings) >= mostSaid {
			p.said.warnings = make(map[string]bool)
		}
		p.said.warnings[w] = true
		p.logger.Warn("setting is not honoured", "reason", w)
	}
}

func (p *Proxy) tellInForce() {
	id := p.duty.identity.Status()
	now := describe(p.config)
	now.peer, now.roots = id.SpiffeID, id.Roots
	if reflect.DeepEqual(now, p.said.inForce) {
		return
	}
	p.said.inForce = now
	args := []any{"mode", now.mode, "service", p.config.Service, "peer", now.peer}
	if now.proxyID != "" {
		args = append(args, "proxy_id", now.proxyID)
	}
	if now.public != "" {
		args = append(args, "address", now.public, "local_service", now.local)
	}
	args = append(args, "upstreams", len(now.upstreams), "roots", now.roots,
		"tls_records", string(now.tls.Records), "tls_key_exchange", string(now.tls.KeyExchange),
		"leaf_not_after", id.LeafNotAfter.UTC().Format(time.RFC3339))
	p.logger.Info("in force", args...)
	for _, u := range now.upstreams {
		args := []any{"upstream", u.name, "address", u.address}
		if u.connectTimeout > 0 { // else the destination's own
			args = append(args, "connect_timeout", u.connectTimeout.String())
		}
		if u.balance != "" { // else as the prepared query has it
			args = append(args, "balance", u.balance)
		}
		p.logger.Info("upstream in force", args...)
	}
}

// describe puts a configuration into the words of the log.
func describe(c *config.Config) inForce {
	f := inForce{mode: string(c.Mode), proxyID: c.ProxyID, tls: c.TLS}
	if c.Public != nil {
		f.public, f.local = display(c.Public.Bind), display(c.Public.Local)
	}
	for _, u := range c.Upstreams {
		f.upstreams = append(f.upstreams, upstreamInForce{
			name:           u.Destination.String(),
			address:        display(u.Bind),
			balance:        string(u.Balance),
			connectTimeout: u.ConnectTimeout,
		})
	}
	return f
}

// tellReadiness logs when the proxy becomes ready and when it ceases to be, and
// a start that takes long.
func (p *Proxy) tellReadiness(s Status) {
	switch {
	case s.Ready == p.said.ready && p.said.toldReady:
		return
	case !s.Ready && !p.said.toldReady && s.UptimeSeconds < slowStart.Seconds():
		return
	}
	p.said.ready, p.said.toldReady = s.Ready, true
	if s.Ready {
		p.logger.Info("ready")
		return
	}
	p.logger.Warn("not ready", "reason", s.Reasons)
}

// poke has the registrar look whether there is something to tell the agent.
func (p *Proxy) poke() {
	select {
	case p.wake <- struct{}{}:
	default: // it will look anyway
	}
}

func (p *Proxy) registrar() *registrar {
	return &registrar{
		client:  p.o.Client,
		options: *p.o.Register,
		logger:  p.logger,
		wake:    p.wake,
		config: func() *config.Config {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.config
		},
		state: func() readiness {
			s := p.Status()
			return readiness{ready: s.Ready, reasons: s.Reasons}
		},
	}
}

// report is what the admin listener tells.
func (p *Proxy) report() admin.Report {
	s := p.Status()
	return admin.Report{Ready: s.Ready, Reasons: s.Reasons, Details: s}
}
