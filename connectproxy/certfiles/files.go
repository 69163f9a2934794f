package certfiles

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// defaultInterval is how often files are looked at.
	defaultInterval = 5 * time.Second
	// foresight is how long before its end a certificate is warned of, and a
	// quarter of its life at most.
	foresight = 7 * 24 * time.Hour
	// remind is how often that is said.
	remind = 24 * time.Hour
)

// Options name the files. Either Certificate, with Key unless it holds that too,
// or PKCS12 is required.
type Options struct {
	// Certificate is a PEM file of the certificate and the intermediate ones
	// between it and the CA, in that order.
	Certificate string
	// Key is a PEM file of the certificate's key; empty means that Certificate
	// holds it.
	Key string
	// PKCS12 is a file with certificate, key and perhaps CAs (RFC 7292).
	PKCS12 string
	// PasswordFile has the password of PKCS12 in its first line; empty means the
	// empty password.
	PasswordFile string
	// CA is a PEM file of the CAs to trust; empty means those of PKCS12, if any.
	CA string
	// NeedsCA has files refused that hold no CA.
	NeedsCA bool
	// Interval is how often the files are looked at; zero or less means 5 seconds.
	Interval time.Duration
	// Logger is told what changed and what cannot be used; nil means none.
	Logger hclog.Logger
}

// Files are a certificate, its key and CAs that may be replaced at any time.
type Files struct {
	o   Options
	now func() time.Time

	mu      sync.Mutex // guards what follows
	current *Identity
	changed chan struct{}
	// refused is what was found instead and cannot be used, since when; its
	// error is nil if nothing is wrong.
	refused content
	since   time.Time
	said    bool
	// warned is when each warning was said last.
	warned map[string]time.Time
}

// New reads the files and starts nothing. Files that cannot be used now, also for
// an expired certificate, are an error: one line that names each file that is wrong
// and what to do.
func New(o Options) (*Files, error) {
	if o.Interval <= 0 {
		o.Interval = defaultInterval
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	switch {
	case o.Certificate == "" && o.PKCS12 == "":
		return nil, errors.New("no certificate is named: give a PEM file and its key, or a PKCS#12 file")
	case o.Certificate != "" && o.PKCS12 != "":
		return nil, errors.New("both a PEM file and a PKCS#12 file are named: give one of them")
	case o.PKCS12 != "" && o.Key != "":
		return nil, errors.New("a key is named beside a PKCS#12 file, which has its own: leave it out")
	}
	f := &Files{o: o, now: time.Now, changed: make(chan struct{}), warned: map[string]time.Time{}}
	c := f.read()
	identity, err := f.identityOf(c)
	if err == nil {
		err = identity.expired(f.now())
	}
	if err != nil {
		return nil, err
	}
	f.current = identity
	return f, nil
}

// Run looks at the files until ctx is done and returns ctx's error. It logs what
// changes, and warnings once a day. It is called once and starts no goroutine.
func (f *Files) Run(ctx context.Context) error {
	tick := time.NewTicker(f.o.Interval)
	defer tick.Stop()
	for {
		f.reload()
		f.warn()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Current returns what is in force; it is never nil.
func (f *Files) Current() *Identity {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.current
}

// Changed returns a channel that is closed when something else comes into force.
// Take it before Current, or a change between the two is missed.
func (f *Files) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// Expired returns why what is in force is not valid now, before its time or after;
// nil if it is valid.
func (f *Files) Expired() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.current.expired(f.now())
}

// Refused returns why newer files are not in force; empty if there are none.
func (f *Files) Refused() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refused.err != nil {
		return f.refused.err.Error()
	}
	return ""
}

// reload reads the files and puts them in force if they are new and can be used.
func (f *Files) reload() {
	c := f.read()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(c.unread) == 0 && c.sum == f.current.sum {
		if f.said {
			f.o.Logger.Info("certificate files are as before again")
		}
		f.refused, f.since, f.said = content{}, time.Time{}, false
		return
	}
	identity, err := f.identityOf(c)
	if err == nil {
		err = identity.expired(f.now())
	}
	if err == nil {
		f.current, f.refused, f.since, f.said = identity, content{}, time.Time{}, false
		clear(f.warned)
		close(f.changed)
		f.changed = make(chan struct{})
		f.o.Logger.Info("certificate files were read again", "not_after", identity.NotAfter.UTC().Format(time.RFC3339))
		return
	}
	if f.refused.err == nil || f.refused.sum != c.sum {
		f.since, f.said = f.now(), false
	}
	f.refused = c
	f.refused.err = err
	if !f.said && f.now().Sub(f.since) >= f.o.Interval-f.o.Interval/5 {
		f.said = true
		f.o.Logger.Warn("certificate files cannot be used; the last good ones stay in force", "error", err)
	}
}

// warn says what will be wrong, and what is unwise, once a day each.
func (f *Files) warn() {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	for _, text := range append(f.current.warnings(now), f.current.unwise...) {
		if last, ok := f.warned[text]; ok && now.Sub(last) < remind {
			continue
		}
		f.warned[text] = now
		f.o.Logger.Warn("certificate files need attention", "reason", text)
	}
}

// Warnings returns what will be wrong soon and what is unwise, a sentence each: an
// end of validity within a week or a quarter of the certificate's life, whichever
// is less, and files that other users may read.
func (f *Files) Warnings() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append(f.current.warnings(f.now()), f.current.unwise...)
}
