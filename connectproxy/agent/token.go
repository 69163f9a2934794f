package agent

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy/regularfile"
)

const tokenHeader = "X-Consul-Token"

// answerTimeout is how long the agent may take over a question that does not
// block: whether a peer is authorized, a registration, the state of a check.
const answerTimeout = 10 * time.Second

// tokenTransport puts the ACL token on every request to the agent. consul/api
// reads a token file once; here a replaced one is in use from the next request
// on, so that a token can be rotated under a running proxy. There are few
// requests, most of them block for minutes, so the file is simply read for each.
type tokenTransport struct {
	base   carrier
	token  string // without a file, or while it is empty from the start
	file   string
	logger hclog.Logger
	// limit bounds a question that has an answer at once or never.
	limit time.Duration
	// renew says that a request's connection should be its last one; nil means
	// never.
	renew func() bool

	mu     sync.Mutex
	last   string // the file's last usable content
	broken bool   // the file could not be used, and that was said
}

// carrier carries requests to the agent.
type carrier interface {
	http.RoundTripper
	CloseIdleConnections()
}

var _ http.RoundTripper = (*tokenTransport)(nil)

// RoundTrip sends a copy of the request, with the token of the moment or none.
func (t *tokenTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if token := t.current(); token != "" {
		r.Header.Set(tokenHeader, token)
	} else {
		r.Header.Del(tokenHeader)
	}
	r.Close = t.renew != nil && t.renew()
	if r.Method == http.MethodGet {
		return t.base.RoundTrip(r) // may block for minutes by intent; the caller's context ends it
	}
	return t.bounded(r)
}

// bounded sends a request that has an answer at once or never. consul/api takes
// no context for some of them, so nobody else could end it.
func (t *tokenTransport) bounded(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), t.limit)
	resp, err := t.base.RoundTrip(r.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Body = &boundedBody{resp.Body, cancel}
	return resp, nil
}

// boundedBody ends the time limit once the answer has been read.
type boundedBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *boundedBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// CloseIdleConnections is what http.Client's calls.
func (t *tokenTransport) CloseIdleConnections() { t.base.CloseIdleConnections() }

var (
	errNoToken  = errors.New("the file is empty")
	errNotToken = errors.New("not a token: put the token alone into the file, one word on one line")
)

// readToken reads a token file as people save it: with a byte order mark or
// without, with any end of line.
func readToken(path string) (string, error) {
	content, err := regularfile.Read(path, regularfile.Small)
	if err == nil {
		content, err = config.DecodeText(content)
	}
	token := strings.TrimSpace(string(content))
	switch {
	case err != nil:
		return "", err
	case token == "":
		return "", errNoToken
	case !IsToken(token):
		return "", errNotToken
	}
	return token, nil
}

// IsToken reports whether a token can stand in a header: another would make
// every question fail before the agent hears of it.
func IsToken(token string) bool {
	return !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// current keeps the last token while the file is missing, empty or no token:
// whoever replaces it may be between two steps.
func (t *tokenTransport) current() string {
	if t.file == "" {
		return t.token
	}
	token, err := readToken(t.file)

	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		if !t.broken {
			t.broken = true
			t.logger.Warn("token file is of no use, keeping the last token", "file", t.file, "error", err)
		}
		return t.last
	}
	if t.broken || (t.last != "" && t.last != token) {
		t.logger.Info("token file read anew", "file", t.file)
	}
	t.last, t.broken = token, false
	return token
}
