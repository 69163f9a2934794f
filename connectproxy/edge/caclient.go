package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"connect-proxy/config"
)

const (
	// askTime bounds one question to the CA with its answer.
	askTime = 30 * time.Second
	// maxAnswer bounds an answer of the CA, in bytes.
	maxAnswer = 1 << 20
)

// caClient is the way to the CA until it is closed.
type caClient struct {
	*acme.Client
	transport *http.Transport

	mu     sync.Mutex // guards what follows
	closed bool
	open   map[*caConn]bool
}

// caConn is a connection to the CA.
type caConn struct {
	net.Conn
	of *caClient
}

// Close is net.Conn's.
func (c *caConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// newCAClient makes a client that connects to nothing once ctx is done.
func newCAClient(ctx context.Context, a config.ACME) (*caClient, error) {
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true, TLSHandshakeTimeout: askTime, MaxResponseHeaderBytes: maxAnswer,
	}
	if a.CA != "" {
		b, err := os.ReadFile(a.CA)
		if err != nil {
			return nil, err
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("%s: no certificate in PEM form", a.CA)
		}
	}
	c := &caClient{transport: t, open: map[*caConn]bool{}}
	// The transport goes on making a connection that nobody waits for any more.
	t.DialContext = func(_ context.Context, network, address string) (net.Conn, error) {
		return c.dial(ctx, network, address)
	}
	c.Client = &acme.Client{
		Directory: a.DirectoryURL, UserAgent: "connect-proxy",
		HTTPClient: &http.Client{
			Transport: roundTripper(c.roundTrip), Timeout: askTime,
			CheckRedirect: func(r *http.Request, _ []*http.Request) error {
				return fmt.Errorf("the CA sends to %.200q, and redirects are not followed", r.URL.Redacted())
			},
		},
	}
	return c, nil
}

func (c *caClient) dial(ctx context.Context, network, address string) (net.Conn, error) {
	raw, err := (&net.Dialer{Timeout: askTime}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = raw.Close()
		return nil, errEnded
	}
	conn := &caConn{raw, c}
	c.open[conn] = true
	return conn, nil
}

// roundTrip asks the CA, whose answers also say where to ask next, and bounds its answer.
func (c *caClient) roundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, fmt.Errorf("the CA wants to be asked at %.200q, without TLS", r.URL.Redacted())
	}
	answer, err := c.transport.RoundTrip(r)
	if err == nil {
		answer.Body = &shortAnswer{answer.Body, maxAnswer}
	}
	return answer, err
}

// close ends connections that the transport still has.
func (c *caClient) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for conn := range c.open {
		_ = conn.Conn.Close()
	}
}

// shortAnswer is an answer that ends with an error where it is too long.
type shortAnswer struct {
	io.ReadCloser
	left int
}

func (b *shortAnswer) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errLongAnswer
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

var errLongAnswer = fmt.Errorf("the CA's answer is longer than %d bytes", maxAnswer)

var errEnded = errors.New("the edge has ended")

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
