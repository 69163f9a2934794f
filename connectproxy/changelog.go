package connectproxy

import (
	"reflect"
	"slices"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/identity"
	"connect-proxy/connectproxy/register"
)

// slowStart is how long a start may take before its reasons are worth a line.
const slowStart = 5 * time.Second

// maxLoggedWarnings bounds the warnings remembered as logged.
const maxLoggedWarnings = 256

// maxListed bounds the upstreams that are logged one by one.
const maxListed = 20

// logged is what has been logged, so that nothing is logged twice.
type logged struct {
	warnings map[string]bool
	inForce  inForce
	// config is what inForce was made of.
	config *config.Config
	// ready is the readiness last logged, and readyLogged whether any was.
	ready, readyLogged bool
	// readiness and registered are what the registrar was last woken for.
	registered *config.Config
	readiness  register.Readiness
	loss       loss
}

// inForce is what an operator wants to see once at start, and again when it
// changes. The leaf's expiry and serial are not part of it: they change with
// each renewal, which has a line of its own.
type inForce struct {
	mode, proxyID, peer string
	public, local       string
	byName, micro, edge string
	tls                 config.TLS
	roots               []string
	upstreams           []upstreamInForce
}

type upstreamInForce struct {
	name, address, balance string
	connectTimeout         time.Duration
}

// logChanges logs what has changed, and wakes the registrar for it.
func (l *loop) logChanges() {
	now := l.readiness()
	if l.o.Pulse != nil {
		l.o.Pulse(now.Ready, now.Reasons)
	}
	if l.config != nil {
		l.logWarnings()
		if id := l.principals[0].inUse(); id.ready() {
			l.logInForce(id.Status())
		}
	}
	l.logReadiness(now)
	l.logLoss()
	if l.config != nil && (l.config != l.logged.registered || !reflect.DeepEqual(now, l.logged.readiness)) {
		l.logged.readiness, l.logged.registered = now, l.config
		l.wakeRegistrar()
	}
}

// logWarnings names each setting that is not honoured, or gives much away, once.
func (l *loop) logWarnings() {
	for _, w := range l.config.SecurityWarnings {
		if l.isNew(w) {
			l.logger.Error("setting that guards is not honoured", "reason", w)
		}
	}
	for _, w := range l.config.Cautions() {
		if l.isNew(w) {
			l.logger.Warn("setting gives much away", "reason", w)
		}
	}
	for _, w := range l.config.Warnings {
		if l.isNew(w) {
			l.logger.Warn("setting is not honoured", "reason", w)
		}
	}
}

// isNew reports whether a warning has not been logged yet.
func (l *loop) isNew(warning string) bool {
	if l.logged.warnings[warning] {
		return false
	}
	if l.logged.warnings == nil || len(l.logged.warnings) >= maxLoggedWarnings {
		l.logged.warnings = make(map[string]bool)
	}
	l.logged.warnings[warning] = true
	return true
}

func (l *loop) logInForce(id identity.Status) {
	if last := l.logged.inForce; l.logged.config == l.config && last.peer == id.SpiffeID && slices.Equal(last.roots, id.Roots) {
		return
	}
	l.logged.config = l.config
	now := describe(l.config)
	now.peer, now.roots = id.SpiffeID, id.Roots
	if reflect.DeepEqual(now, l.logged.inForce) {
		return
	}
	l.logged.inForce = now
	args := []any{"mode", now.mode}
	if l.config.Service != "" {
		args = append(args, "service", l.config.Service)
	}
	if now.peer != "" {
		args = append(args, "peer", now.peer)
	}
	if now.proxyID != "" {
		args = append(args, "proxy_id", now.proxyID)
	}
	if now.public != "" {
		args = append(args, "address", now.public, "local_service", now.local)
	}
	args = append(args, "upstreams", len(now.upstreams))
	if now.byName != "" {
		args = append(args, "by_name", now.byName)
	}
	if now.micro != "" {
		args = append(args, "micro", now.micro)
	}
	if now.edge != "" {
		args = append(args, "edge", now.edge)
	}
	if now.peer != "" { // else nothing is secured
		args = append(args, "roots", now.roots,
			"tls_records", string(now.tls.Records), "tls_key_exchange", string(now.tls.KeyExchange),
			"leaf_not_after", id.LeafNotAfter.UTC().Format(time.RFC3339))
	}
	l.logger.Info("in force", args...)
	for _, u := range now.upstreams[:min(len(now.upstreams), maxListed)] {
		args := []any{"upstream", u.name, "address", u.address}
		if u.connectTimeout > 0 { // else the destination's own
			args = append(args, "connect_timeout", u.connectTimeout.String())
		}
		if u.balance != "" { // else as the prepared query has it
			args = append(args, "balance", u.balance)
		}
		l.logger.Info("upstream in force", args...)
	}
	if more := len(now.upstreams) - maxListed; more > 0 {
		l.logger.Info("upstreams in force that are not listed", "count", more)
	}
}

// describe returns what the log says of a configuration.
func describe(c *config.Config) inForce {
	f := inForce{mode: string(c.Mode), proxyID: c.ProxyID, tls: c.TLS}
	if c.Public != nil {
		f.public, f.local = describeAddress(c.Public.Bind), describeAddress(c.Public.Local)
	}
	if c.Public != nil && c.Public.MicroEvents {
		f.local = toSubscribers
	}
	if c.ByName != nil {
		f.byName = describeAddress(c.ByName.Bind)
	}
	if c.Micro.Listens() {
		f.micro = describeAddress(c.Micro.Bind)
	}
	if c.Edge != nil {
		f.edge = describeAddress(c.Edge.Bind)
	}
	for _, u := range c.Upstreams {
		f.upstreams = append(f.upstreams, upstreamInForce{
			name:           u.Destination.String(),
			address:        describeAddress(u.Bind),
			balance:        string(u.Balance),
			connectTimeout: u.ConnectTimeout,
		})
	}
	return f
}

// logReadiness logs when the proxy becomes ready and when it ceases to be, and
// a start that takes long.
func (l *loop) logReadiness(s register.Readiness) {
	switch {
	case s.Ready == l.logged.ready && l.logged.readyLogged:
		return
	case !s.Ready && !l.logged.readyLogged && time.Since(l.started) < slowStart:
		return
	}
	l.logged.ready, l.logged.readyLogged = s.Ready, true
	if s.Ready {
		l.logger.Info("ready")
		return
	}
	l.logger.Warn("not ready", "reason", s.Reasons)
}
