package agent

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"
)

const (
	// expiryNotice is how long before a certificate's end it is said, and a quarter
	// of its life at most: those of a day are renewed every day.
	expiryNotice = 7 * 24 * time.Hour
	// reminderInterval is how often it is said again.
	reminderInterval = 24 * time.Hour
	// certificateSeenWithin is how old a sight of the agent's certificate may be to be warned
	// of: connections live for weeks, and the agent may have a new one.
	certificateSeenWithin = 15 * time.Minute
)

// span is the life of a certificate; zero if there is none.
type span struct{ notBefore, notAfter time.Time }

// ending reports whether the end is near, or over.
func (s span) ending(now time.Time) bool {
	if s.notAfter.IsZero() {
		return false
	}
	return !now.Before(s.notAfter.Add(-min(expiryNotice, s.notAfter.Sub(s.notBefore)/4)))
}

// orEarlier is the life of c if it ends before.
func (s span) orEarlier(c *x509.Certificate) span {
	if s.notAfter.IsZero() || c.NotAfter.Before(s.notAfter) {
		return span{c.NotBefore, c.NotAfter}
	}
	return s
}

// certificateEnds are the ends after which the agent cannot be reached.
type certificateEnds struct {
	client, ca span
	// agent is the agent's own, as seen at the time seen.
	agent span
	seen  time.Time
	// asked is when a new connection was asked for, to see the agent's again.
	asked time.Time
	// told is what was said last, and when.
	told map[string]time.Time
}

// endOf is the life of what ends first of a certificate and what is sent along.
func endOf(c tls.Certificate) span {
	var s span
	for _, der := range c.Certificate {
		if cert, err := x509.ParseCertificate(der); err == nil {
			s = s.orEarlier(cert)
		}
	}
	return s
}

// lastOf is the life of the bundle's certificate that is valid for longest.
func lastOf(bundle []byte) span {
	var s span
	for _, c := range certificates(bundle) {
		if c.NotAfter.After(s.notAfter) {
			s = span{c.NotBefore, c.NotAfter}
		}
	}
	return s
}

// sawCertificate keeps the end of the certificate that the agent has shown. One that is not
// verified has none that matters.
func (a *agentTLS) sawCertificate(cs tls.ConnectionState) {
	var longest span
	for _, chain := range cs.VerifiedChains {
		var s span
		for _, c := range chain {
			s = s.orEarlier(c)
		}
		if s.notAfter.After(longest.notAfter) {
			longest = s
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ends.agent, a.ends.seen = longest, a.now()
}

// wantsNewConnection says, now and then, that the agent's certificate must be
// seen again before anybody is warned of it.
func (a *agentTLS) wantsNewConnection() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, now := &a.ends, a.now()
	if !e.agent.ending(now) || now.Sub(e.seen) < certificateSeenWithin || now.Sub(e.asked) < certificateSeenWithin/3 {
		return false
	}
	e.asked = now
	return true
}

// warning is a certificate whose end is near.
type warning struct {
	what, where string
	notAfter    time.Time
}

func (w warning) text(now time.Time) string {
	of := w.what
	if w.where != "" {
		of += " (" + w.where + ")"
	}
	if now.After(w.notAfter) {
		return fmt.Sprintf("%s has expired at %s: renew it", of, stamp(w.notAfter))
	}
	return fmt.Sprintf("%s expires at %s: renew it before", of, stamp(w.notAfter))
}

// warnings are the ends that are near; the caller holds mu.
func (a *agentTLS) warnings() []warning {
	now, e := a.now(), a.ends
	var w []warning
	if e.client.ending(now) {
		w = append(w, warning{"the client certificate", a.o.CertFile, e.client.notAfter})
	}
	if e.ca.ending(now) && !a.o.InsecureSkipVerify {
		w = append(w, warning{"the CA of the agent's certificate", cmp.Or(a.o.CAFile, a.o.CAPath), e.ca.notAfter})
	}
	if e.agent.ending(now) && now.Sub(e.seen) < 2*certificateSeenWithin {
		w = append(w, warning{"the certificate of the agent itself", "", e.agent.notAfter})
	}
	return w
}

// warnOfExpiry logs each end that is near, once a day, and once more when it has
// come.
func (a *agentTLS) warnOfExpiry() {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	for _, w := range a.warnings() {
		text := w.text(now)
		if last, ok := a.ends.told[text]; ok && now.Sub(last) < reminderInterval {
			continue
		}
		if a.ends.told == nil || len(a.ends.told) > 16 {
			a.ends.told = make(map[string]time.Time)
		}
		a.ends.told[text] = now
		if now.After(w.notAfter) {
			a.logger.Error("the agent is out of reach for new connections", "reason", text)
		} else {
			a.logger.Warn("the agent will be out of reach for new connections", "reason", text)
		}
	}
}

// ConnectionStatus is how the agent is reached at the moment.
func (c *Client) ConnectionStatus() Status {
	s := c.tls.status(c.settings.Address)
	s.Requests, s.Outages = c.requests.byName(), c.turns.Outages()
	return s
}

// status is for /health.
func (a *agentTLS) status(address string) Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Status{
		Address:                   address,
		ClientCertificateNotAfter: a.ends.client.notAfter,
		CANotAfter:                a.ends.ca.notAfter,
		CertificateNotAfter:       a.ends.agent.notAfter,
	}
	if a.refused.err != nil {
		s.Problem = "newer TLS files cannot be used: " + a.refused.err.Error()
	}
	for _, w := range a.warnings() {
		s.Warnings = append(s.Warnings, w.text(a.now()))
	}
	return s
}

// stamp is a time as logs have it, or "" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
