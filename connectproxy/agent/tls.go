package agent

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/connectproxy/regularfile"
)

const (
	// filesCheck is how often the files are looked at. A new connection looks
	// at them in any case.
	filesCheck = 5 * time.Second
	// handshakeLimit is how long TLS with the agent may take.
	handshakeLimit = 10 * time.Second
)

// agentTLS is the TLS to the agent. Client certificate, key and CA are read
// again when their content changes: a connection is made by what is newest, and
// those in use are left alone. What cannot be used is said once and leaves the
// last that could in force. It is safe for concurrent use.
type agentTLS struct {
	o      api.TLSConfig
	host   string // whose certificate is expected, unless o.Address says another
	logger hclog.Logger
	now    func() time.Time

	mu     sync.Mutex // guards what follows
	read   tlsFiles   // in force
	config *tls.Config
	// refused is what was found instead and cannot be used, and since when;
	// zero if nothing is wrong.
	refused tlsFiles
	since   time.Time
	said    bool
	ends    certificateEnds
}

// tlsFiles is the content of the files at one moment.
type tlsFiles struct {
	ca, cert, key []byte
	sum           [sha256.Size]byte
	err           error // of reading them
}

// newAgentTLS reads the files. Its error says what the user has to mend.
func newAgentTLS(o api.TLSConfig, host string, logger hclog.Logger) (*agentTLS, error) {
	a := &agentTLS{o: o, host: host, logger: logger, now: time.Now}
	files := a.files()
	config, err := a.configOf(files)
	if err != nil {
		return nil, err
	}
	a.putInForce(files, config)
	return a, nil
}

// follow looks at the files until ctx is done, so that trouble is said before a
// connection is in want of them, and foresees the certificates' ends.
func (a *agentTLS) follow(ctx context.Context) {
	tick := time.NewTicker(filesCheck)
	defer tick.Stop()
	for {
		a.reload()
		a.warnOfExpiry()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// FollowTLS follows the files of an agent behind TLS until stop is called, which
// waits: the end of ctx alone does not end it, since during the drain too the
// agent is asked.
func (c *Client) FollowTLS(ctx context.Context) (stop func()) {
	if !c.settings.https() {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.tls.follow(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// reload reads the files and puts them in force if they are new and can be used.
// Whoever replaces a certificate and its key does so in two steps, so a mistake
// is said when it is still there at a later look.
func (a *agentTLS) reload() *tls.Config {
	files := a.files()
	a.mu.Lock()
	defer a.mu.Unlock()
	if files.sum == a.read.sum && files.err == nil {
		if a.said {
			a.logger.Info("TLS files for the agent are as they were again")
		}
		a.refused, a.since, a.said = tlsFiles{}, time.Time{}, false
		return a.config
	}
	config, err := a.configOf(files)
	if err == nil {
		err = a.whyWorse(config)
	}
	if err == nil {
		a.putInForce(files, config)
		a.logger.Info("TLS files for the agent read anew", "client_certificate_not_after", stamp(a.ends.client.notAfter), "ca_not_after", stamp(a.ends.ca.notAfter))
		return a.config
	}
	if a.refused.sum != files.sum {
		a.refused, a.since, a.said = files, a.now(), false
	}
	a.refused.err = err
	if !a.said && a.now().Sub(a.since) >= filesCheck-filesCheck/5 {
		a.said = true
		a.logger.Warn("TLS files for the agent cannot be used; the last good ones stay in force", "error", err)
	}
	return a.config
}

// whyWorse returns why a certificate that could be used takes no other's place: its
// time is over, and the other's is not. Nil means that it may.
func (a *agentTLS) whyWorse(config *tls.Config) error {
	if len(config.Certificates) == 0 {
		return nil
	}
	now, next := a.now(), endOf(config.Certificates[0])
	if now.After(next.notAfter) && now.Before(a.ends.client.notAfter) {
		return fmt.Errorf("%s expired at %s", a.o.CertFile, stamp(next.notAfter))
	}
	return nil
}

// putInForce puts files in force; the caller holds mu, or is the first.
func (a *agentTLS) putInForce(files tlsFiles, config *tls.Config) {
	a.read, a.config = files, config
	a.refused, a.since, a.said = tlsFiles{}, time.Time{}, false
	a.ends.client, a.ends.ca = span{}, lastOf(files.ca)
	if len(config.Certificates) > 0 {
		a.ends.client = endOf(config.Certificates[0])
	}
	a.ends.told = nil
}

// files reads all files at once. consul/api would read them itself, one after
// the other and at a moment of its own.
func (a *agentTLS) files() tlsFiles {
	var f tlsFiles
	f.ca, f.err = readCA(a.o.CAFile, a.o.CAPath)
	for path, to := range map[string]*[]byte{a.o.CertFile: &f.cert, a.o.KeyFile: &f.key} {
		if path == "" {
			continue
		}
		content, err := regularfile.Read(path, regularfile.Small)
		*to = content
		f.err = errors.Join(f.err, err)
	}
	h := sha256.New()
	for _, b := range [][]byte{f.ca, f.cert, f.key} {
		fmt.Fprintf(h, "%d:", len(b))
		h.Write(b)
	}
	if f.err != nil {
		fmt.Fprint(h, f.err)
	}
	h.Sum(f.sum[:0])
	return f
}

// readCA reads a bundle, or else every file of a directory. What stands there as
// ..name is Kubernetes' own way to replace all files at once.
func readCA(file, dir string) ([]byte, error) {
	if file != "" || dir == "" {
		return readPEM(file)
	}
	var all []byte
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != dir && len(d.Name()) > 2 && d.Name()[:2] == "..":
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		}
		content, err := readPEM(path)
		all = append(append(all, content...), '\n')
		return err
	})
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("%s has no certificates in it", dir)
	}
	return all, err
}

// readPEM reads a file that must hold a certificate.
func readPEM(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	content, err := regularfile.Read(path, regularfile.Small)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(content) {
		err = fmt.Errorf("%s holds no certificate in PEM form", path)
	}
	return content, err
}

// configOf makes what a connection needs of the files.
func (a *agentTLS) configOf(f tlsFiles) (*tls.Config, error) {
	if f.err != nil {
		return nil, f.err
	}
	config, err := api.SetupTLSConfig(&api.TLSConfig{
		Address: a.o.Address, InsecureSkipVerify: a.o.InsecureSkipVerify,
		CAPem: f.ca, CertPEM: f.cert, KeyPEM: f.key,
	})
	switch {
	case err != nil && a.o.CertFile != "":
		return nil, fmt.Errorf("%s with %s: %w", a.o.CertFile, a.o.KeyFile, err)
	case err != nil:
		return nil, err
	}
	config.ServerName = cmp.Or(config.ServerName, a.host)
	return config, nil
}

// dial opens TLS on what connect gives.
func (a *agentTLS) dial(ctx context.Context, connect func(context.Context) (net.Conn, error)) (net.Conn, error) {
	raw, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	conn := tls.Client(raw, a.reload())
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("TLS with the agent: %w", err)
	}
	a.sawCertificate(conn.ConnectionState())
	return conn, nil
}

// certificates are those of a bundle that can be read.
func certificates(bundle []byte) []*x509.Certificate {
	var found []*x509.Certificate
	for block, rest := pem.Decode(bytes.TrimSpace(bundle)); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			found = append(found, c)
		}
	}
	return found
}
