package edge

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync/atomic"
	"time"

	"connect-proxy/connectproxy/certfiles"
)

// retry is how often files that could not be read at the start are tried again.
const retry = time.Second

// fromFiles is a certificate from files.
type fromFiles struct {
	o     Options
	files atomic.Pointer[certfiles.Files] // nil until they could be read, or are taken over
	// problem is why they cannot be read at first.
	problem atomic.Pointer[string]
}

func (f *fromFiles) problems() []string {
	if files := f.files.Load(); files != nil {
		if leaf := files.Current().Certificate.Leaf; leaf != nil && time.Now().After(leaf.NotAfter) {
			return []string{fmt.Sprintf("edge: the certificate in %s has expired: it was valid until %s", f.o.Cert, day(leaf.NotAfter))}
		}
		return nil
	}
	if why := f.problem.Load(); why != nil {
		return []string{"edge: no certificate: " + *why}
	}
	return []string{"edge: no certificate yet"}
}

func (f *fromFiles) get(string, *tls.ClientHelloInfo) (*tls.Certificate, error) {
	files := f.files.Load()
	if files == nil {
		return nil, errNoCertificate
	}
	return &files.Current().Certificate, nil
}

// CheckFiles reads a certificate and its key as an edge does, and returns all that is
// wrong with them; nil if they can be shown.
func CheckFiles(cert, key string) []error {
	return certfiles.Check(certfiles.Options{Certificate: cert, Key: key})
}

func (f *fromFiles) takeOver(from certificateSource) {
	if old, ok := from.(*fromFiles); ok && old.o.Cert == f.o.Cert && old.o.Key == f.o.Key {
		f.files.Store(old.files.Load())
	}
}

func (f *fromFiles) run(ctx context.Context) error {
	var said string
	for {
		files, err := certfiles.New(certfiles.Options{Certificate: f.o.Cert, Key: f.o.Key, Logger: f.o.Logger})
		if err == nil {
			f.files.Store(files)
			break
		}
		if why := err.Error(); said != why {
			said = why
			f.problem.Store(&why)
			what := "no certificate"
			if f.files.Load() != nil {
				what = "the certificate is not read again, and stays as it was"
			}
			f.o.Logger.Error(what, "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retry):
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.watch(ctx)
	}()
	err := f.files.Load().Run(ctx)
	<-done
	return err
}

// watch says for which names a certificate is not, each time that there is another.
func (f *fromFiles) watch(ctx context.Context) {
	for {
		changed := f.files.Load().Changed()
		if leaf := f.files.Load().Current().Certificate.Leaf; leaf != nil {
			for _, host := range f.o.Hosts {
				if err := leaf.VerifyHostname(host); err != nil {
					f.o.Logger.Warn("the certificate is not for one of the hosts", "host", host, "file", f.o.Cert, "error", err)
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}
