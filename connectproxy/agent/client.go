package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/connectproxy/queue"
	"connect-proxy/upstream/answer"
)

// Options say how the local agent is reached. Nothing of it is taken from the
// environment, unlike with consul/api.
type Options struct {
	// Address as ParseAddress gives it.
	Address string
	// HTTPS asks for TLS where the address has no scheme.
	HTTPS bool
	// TLS names files and the agent's name; of Address only the host counts. The
	// files are read again when they change.
	TLS api.TLSConfig
	// Auth goes with each request; nil means none.
	Auth *api.HttpBasicAuth
	// Token goes with each request; empty means none. TokenFile's content beats
	// it and is read for each request; empty means no file.
	Token, TokenFile string
	// Namespace and Partition are Enterprise's; empty means the default one.
	Namespace, Partition string
}

// https reports whether the agent is behind TLS.
func (s Options) https() bool { return s.HTTPS || strings.HasPrefix(s.Address, "https://") }

// tokenByTransport is what consul/api is told the token is. An empty value
// would make it fall back on CONSUL_HTTP_TOKEN and CONSUL_HTTP_TOKEN_FILE; it
// is never sent, since the transport sets or removes the header of each
// request.
const tokenByTransport = "set by the transport"

// Client is the client of the local agent. It is safe for concurrent use.
type Client struct {
	*api.Client
	settings  Options
	transport *tokenTransport
	tls       *agentTLS
	http      *http.Transport // beneath it
	turns     *queue.Transport
	requests  *requestCounts
}

// NewClient connects nothing yet. It reads the TLS files and the token file, so
// that a wrong path is named at once.
func NewClient(s Options, logger hclog.Logger) (*Client, error) {
	secured, err := newAgentTLS(s.TLS, hostOf(s.Address), logger)
	if err != nil {
		return nil, fmt.Errorf("reading the TLS files for the agent at %s: %w", s.Address, err)
	}
	if s.TokenFile != "" {
		if _, err := readToken(s.TokenFile); err != nil && !errors.Is(err, errNoToken) {
			return nil, fmt.Errorf("reading the token file %s: %w", s.TokenFile, err)
		}
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	transport := &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: dialer.DialContext,
		// Through an HTTP proxy, which is for an agent on another machine, TLS is
		// the transport's own, by the files of the start.
		TLSClientConfig:     secured.config,
		TLSHandshakeTimeout: handshakeLimit,
	}
	transport.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		return secured.dial(ctx, func(ctx context.Context) (net.Conn, error) { return transport.DialContext(ctx, network, address) })
	}
	address := s.Address
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		// consul/api would replace our HTTP client, and the token with it.
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		}
		address = "localhost"
	}
	scheme := "http"
	if s.https() {
		scheme = "https"
	}
	asked := new(requestCounts)
	turns := queue.New(transport, logger)
	turns.Observe = asked.observe
	tokens := &tokenTransport{
		base: turns, token: s.Token, file: s.TokenFile, last: s.Token, logger: logger, limit: answerTimeout,
		renew: secured.wantsNewConnection,
	}
	client, err := api.NewClient(&api.Config{
		Address:    address,
		Scheme:     scheme,
		HttpClient: &http.Client{Transport: answer.Transport(tokens), CheckRedirect: refuseRedirect},
		HttpAuth:   s.Auth,
		Token:      tokenByTransport,
		Namespace:  s.Namespace,
		Partition:  s.Partition,
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the client of the agent at %s: %w", s.Address, err)
	}
	return &Client{Client: client, settings: s, transport: tokens, tls: secured, http: transport, turns: turns, requests: asked}, nil
}

// CloseIdleConnections closes the connections to the agent that carry no
// request.
func (c *Client) CloseIdleConnections() { c.transport.CloseIdleConnections() }
