package static

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy/certfiles"
	"connect-proxy/listener"
)

// Options say where the certificates are.
type Options struct {
	// Files are the certificate, its key and the CAs, all of which are required.
	Files config.CertificateFiles
	// TLS says how connections are secured.
	TLS config.TLS
	// Interval is how often the files are looked at; zero is 5 seconds.
	Interval time.Duration
	// Logger may be nil.
	Logger hclog.Logger
}

func (o Options) files() certfiles.Options {
	return certfiles.Options{
		Certificate: o.Files.Cert, Key: o.Files.Key, PKCS12: o.Files.PKCS12, PasswordFile: o.Files.PKCS12Password,
		CA: o.Files.CA, NeedsCA: true, Interval: o.Interval, Logger: o.Logger,
	}
}

// Check reads the files once and reports why they cannot be used now, each fault in
// a line that names the file and what to do; nil if they can.
func Check(f config.CertificateFiles) []error { return certfiles.Check(Options{Files: f}.files()) }

// retry is how often files that could not be read at the start are tried again.
const retry = time.Second

// Identity is who the proxy is by certificates in files. It is safe for concurrent
// use.
type Identity struct {
	o      Options
	dialer *net.Dialer
	ready  chan struct{}

	files   atomic.Pointer[certfiles.Files] // nil until they could be read once
	missing atomic.Pointer[error]           // why they could not
	current atomic.Pointer[generation]      // nil before
}

// New makes an Identity of the files as they are, and starts nothing. Files that
// cannot be used are its Problem, and are tried again by Run.
func New(o Options) *Identity {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	i := &Identity{o: o, dialer: listener.NewDialer(), ready: make(chan struct{})}
	i.open()
	return i
}

// open reads the files for the first time, and reports whether they can be used.
func (i *Identity) open() bool {
	files, err := certfiles.New(i.o.files())
	if err != nil {
		i.missing.Store(&err)
		return false
	}
	i.update(files)
	i.files.Store(files)
	close(i.ready)
	return true
}

// update makes a generation of what the files hold now.
func (i *Identity) update(files *certfiles.Files) {
	now, number := files.Current(), uint64(1)
	if old := i.current.Load(); old != nil {
		if old.files == now {
			return
		}
		number = old.number + 1
	}
	i.current.Store(newGeneration(number, now, i))
	i.o.Logger.Info("certificates in force", "peer", i.name(), "not_after", now.NotAfter.UTC().Format(time.RFC3339),
		"roots", len(now.CAs), "generation", number)
}

// Run reads the files again where they have changed, until ctx is done, and returns
// ctx's error. It is called once, and waits for the one goroutine that it starts.
func (i *Identity) Run(ctx context.Context) error {
	if err := i.await(ctx); err != nil {
		return err
	}
	files := i.files.Load()
	watching := make(chan error, 1)
	go func() { watching <- files.Run(ctx) }()
	for {
		changed := files.Changed()
		i.update(files)
		select {
		case <-changed:
		case err := <-watching:
			return err
		}
	}
}

// await returns once the files could be read, or with ctx's error.
func (i *Identity) await(ctx context.Context) error {
	tick := time.NewTicker(retry)
	defer tick.Stop()
	for i.files.Load() == nil && !i.open() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Ready returns a channel that is closed once the files could be read.
func (i *Identity) Ready() <-chan struct{} { return i.ready }

// Problem returns in one line why no connection can be made or accepted; empty if
// nothing is wrong.
func (i *Identity) Problem() string {
	if err := i.problem(); err != nil {
		return err.Error()
	}
	return ""
}

var errNotReady = errors.New("no certificates yet")

func (i *Identity) problem() error {
	if files := i.files.Load(); files != nil {
		return files.Expired()
	}
	if err := i.missing.Load(); err != nil {
		return *err
	}
	return errNotReady
}

// usable returns the generation in force, or why none is.
func (i *Identity) usable() (*generation, error) {
	if err := i.problem(); err != nil {
		return nil, err
	}
	return i.current.Load(), nil
}

// Datacenter returns "": there is none without Consul.
func (i *Identity) Datacenter() string { return "" }
