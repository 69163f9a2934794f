package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy"
	"connect-proxy/connectproxy/regularfile"
	"connect-proxy/upstream"
	"connect-proxy/upstream/etcd"
)

// newResolver finds the instances of a destination of the configuration.
func newResolver(d config.Destination, l hclog.Logger) connectproxy.Resolver {
	o := etcd.Options{
		Endpoints: d.Etcd.EndpointList(),
		Prefix:    d.Name,
		TLS:       func() (*tls.Config, error) { return readTLS(d.Etcd) },
		Identity:  func(host string) upstream.Identity { return upstream.Identity{Host: host, Patterns: d.Verify} },
		Username:  d.Etcd.Username,
		Logger:    l,
	}
	if d.Etcd.PasswordFile != "" {
		o.Password = func() (string, error) { return readPassword(d.Etcd.PasswordFile) }
	}
	r, err := etcd.New(o)
	if err != nil {
		return unusable(d, err)
	}
	return r
}

// readTLS reads the files for https, which may have been replaced since.
func readTLS(e config.Etcd) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.CertFile != "" {
		pair, err := keyPair(e.CertFile, e.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("etcd_cert_file %s with etcd_key_file %s: %w", e.CertFile, e.KeyFile, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if e.CAFile != "" {
		text, err := regularfile.Read(e.CAFile, regularfile.Small)
		if err != nil {
			return nil, fmt.Errorf("etcd_ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("etcd_ca_file %s has no certificate in PEM form", e.CAFile)
		}
	}
	return c, nil
}

func keyPair(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := regularfile.Read(certFile, regularfile.Small)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := regularfile.Read(keyFile, regularfile.Small)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

func readPassword(file string) (string, error) {
	text, err := regularfile.Read(file, regularfile.Small)
	if err != nil {
		return "", fmt.Errorf("etcd_password_file: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimRight(line, "\r"); line == "" {
		return "", fmt.Errorf("etcd_password_file %s has no password in its first line", file)
	}
	return line, nil
}

// noInstances is the resolver of a destination that cannot be asked for.
type noInstances struct{ *upstream.Latest }

func unusable(d config.Destination, err error) noInstances {
	r := noInstances{upstream.NewLatest(d.Name)}
	r.Missed(err)
	return r
}

func (noInstances) Run(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}
