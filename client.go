package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/connectproxy/queue"
)

// defaultAgent is where an agent serves its HTTP API unless told otherwise.
const defaultAgent = "127.0.0.1:8500"

// agentSettings say how the local agent is reached, flags and environment
// already weighed against each other.
type agentSettings struct {
	address              string
	tls                  api.TLSConfig
	https                bool
	auth                 *api.HttpBasicAuth
	token, tokenFile     string // the file's content beats the token
	datacenter           string
	namespace, partition string
}

// settings weighs each flag against its variable. The result does not depend on
// what consul/api would read from the environment itself: there an empty or
// misspelt CONSUL_HTTP_SSL_VERIFY turns verification off, and an inherited
// CONSUL_HTTP_TOKEN_FILE beats the token that the agent made for this proxy.
func (a *agentFlags) settings(env environ) (agentSettings, []string) {
	address, wrong := agentAddress(first(a.httpAddr, env("CONSUL_HTTP_ADDR"), defaultAgent))
	s := agentSettings{
		address:    address,
		datacenter: a.datacenter,
		namespace:  first(a.namespace, env("CONSUL_NAMESPACE")),
		partition:  first(a.partition, env("CONSUL_PARTITION")),
		tls: api.TLSConfig{
			Address:  first(a.tlsServerName, env("CONSUL_TLS_SERVER_NAME")),
			CAFile:   first(a.caFile, env("CONSUL_CACERT")),
			CAPath:   first(a.caPath, env("CONSUL_CAPATH")),
			CertFile: first(a.clientCert, env("CONSUL_CLIENT_CERT")),
			KeyFile:  first(a.clientKey, env("CONSUL_CLIENT_KEY")),
		},
	}
	s.token, s.tokenFile = a.tokens(env)
	s.token = strings.TrimSpace(s.token) // of the end of the file that a shell put in here
	if user, password, _ := strings.Cut(env("CONSUL_HTTP_AUTH"), ":"); user != "" || password != "" {
		s.auth = &api.HttpBasicAuth{Username: user, Password: password}
	}
	var problems []string
	if !oneWord(s.token) {
		problems = append(problems, "-token (CONNECT_PROXY_TOKEN, CONSUL_HTTP_TOKEN): not a token: it has characters that no token has, such as spaces")
	}
	ssl, more := boolean(env, "CONSUL_HTTP_SSL", false)
	problems = append(problems, more...)
	verify, more := boolean(env, "CONSUL_HTTP_SSL_VERIFY", true)
	s.tls.InsecureSkipVerify = !verify
	problems = append(problems, more...)
	if (s.tls.CertFile == "") != (s.tls.KeyFile == "") {
		problems = append(problems, "-client-cert and -client-key (CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY) belong together: give both or neither")
	}
	s.https = ssl || strings.HasPrefix(address, "https://")
	if wrong != "" {
		problems = append(problems, wrong)
	}
	return s, problems
}

// tokens gives the token and the file that beats it, which has no say while it
// is empty, as with Consul's own commands. The agent hands its own environment
// down to the proxies it launches, so the token that it made for this one,
// CONNECT_PROXY_TOKEN, comes before any CONSUL_HTTP_*.
func (a *agentFlags) tokens(env environ) (token, file string) {
	token = first(a.token, env("CONNECT_PROXY_TOKEN"))
	switch {
	case a.tokenFile != "":
		file = a.tokenFile
	case token == "":
		file = env("CONSUL_HTTP_TOKEN_FILE")
	}
	return first(token, env("CONSUL_HTTP_TOKEN")), file
}

// first is the first value that is set.
func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// boolean reads a variable of strconv.ParseBool's spellings.
func boolean(env environ, name string, unset bool) (bool, []string) {
	text := env(name)
	if text == "" {
		return unset, nil
	}
	v, err := strconv.ParseBool(text)
	if err != nil {
		return unset, []string{fmt.Sprintf("%s=%s: set it to true or false", name, text)}
	}
	return v, nil
}

// tokenByTransport is what consul/api is told the token is. An empty value
// would make it fall back on CONSUL_HTTP_TOKEN and CONSUL_HTTP_TOKEN_FILE; it
// is never sent, since the transport sets or removes the header of each
// request.
const tokenByTransport = "set by the transport"

// agentClient is the client and the transport to close behind it.
type agentClient struct {
	*api.Client
	transport *tokenTransport
	tls       *agentTLS
	http      *http.Transport // beneath it
}

// newClient connects nothing yet. It reads the TLS files and the token file,
// so that a wrong path is named at once.
func newClient(s agentSettings, logger hclog.Logger) (agentClient, error) {
	secured, err := newAgentTLS(s.tls, hostOf(s.address), logger)
	if err != nil {
		return agentClient{}, fmt.Errorf("reading the TLS files for the agent at %s: %w", s.address, err)
	}
	if s.tokenFile != "" {
		if _, err := readToken(s.tokenFile); err != nil && !errors.Is(err, errNoToken) {
			return agentClient{}, fmt.Errorf("reading the token file %s: %w", s.tokenFile, err)
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
	address := s.address
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		// consul/api would replace our HTTP client, and the token with it.
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		}
		address = "localhost"
	}
	scheme := "http"
	if s.https {
		scheme = "https"
	}
	tokens := &tokenTransport{
		base: queue.New(transport, logger), token: s.token, file: s.tokenFile, last: s.token, logger: logger, limit: answerTimeout,
		renew: secured.wantsNewConnection,
	}
	client, err := api.NewClient(&api.Config{
		Address:    address,
		Scheme:     scheme,
		HttpClient: &http.Client{Transport: tokens, CheckRedirect: refuseRedirect},
		HttpAuth:   s.auth,
		Token:      tokenByTransport,
		Namespace:  s.namespace,
		Partition:  s.partition,
	})
	if err != nil {
		return agentClient{}, fmt.Errorf("preparing the client of the agent at %s: %w", s.address, err)
	}
	return agentClient{Client: client, transport: tokens, tls: secured, http: transport}, nil
}
