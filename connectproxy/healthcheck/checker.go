package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// interval is how often the application is asked, and retry how often while it is
	// not healthy.
	interval = 5 * time.Second
	retry    = time.Second
	// timeout is how long it may take to answer.
	timeout = 5 * time.Second
	// maxAnswer is how much is read of an answer, in bytes.
	maxAnswer = 4 << 10
)

// Checker asks an application whether it is healthy. Its methods are safe for
// concurrent use.
type Checker struct {
	client  *http.Client
	logger  hclog.Logger
	changed func()
	wake    chan struct{} // holds one call
	// The times are fields for tests.
	interval, retry time.Duration

	mu      sync.Mutex // guards what follows
	url     string
	problem error // nil while the application is healthy
}

// New makes a Checker, by which every application is healthy until Set. changed is
// called when it has become healthy or not, and must not block; logger may be nil.
func New(changed func(), logger hclog.Logger) *Checker {
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	return &Checker{
		client: &http.Client{
			Timeout: timeout,
			// No proxy of the environment: it is this machine's. No connection is
			// kept: a server that has none left for others is not healthy.
			Transport: &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10},
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			},
		},
		logger: logger, changed: changed, interval: interval, retry: retry, wake: make(chan struct{}, 1),
	}
}

var errUnchecked = errors.New("not checked yet")

// Set has another URL asked from now on; empty asks nobody. Until there is an
// answer the application is not healthy.
func (c *Checker) Set(url string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if url == c.url {
		return
	}
	c.url, c.problem = url, nil
	if url != "" {
		c.problem = errUnchecked
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Problem is why the application is not healthy, in one line; nil says that it is.
func (c *Checker) Problem() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.problem
}

// Run asks until ctx is done, and returns its error. It must be called once.
func (c *Checker) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.wake:
		case <-timer.C:
		}
		c.mu.Lock()
		asked := c.url
		c.mu.Unlock()
		if asked == "" {
			c.changed() // Set has made it healthy, and wakes this when there is something to do
			continue
		}
		if c.check(ctx, asked); c.Problem() == nil {
			timer.Reset(c.interval)
		} else {
			timer.Reset(c.retry)
		}
	}
}

// check asks once.
func (c *Checker) check(ctx context.Context, asked string) {
	problem := c.probe(ctx, asked)
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	was, current := c.problem, c.url == asked
	if current {
		c.problem = problem
	}
	c.mu.Unlock()
	if !current || was == nil && problem == nil {
		return
	}
	switch {
	case problem == nil:
		c.logger.Info("application is healthy", "healthcheck", shown(asked))
	case was == nil || errors.Is(was, errUnchecked):
		c.logger.Warn("application is not healthy, and out of service", "error", problem)
	}
	c.changed()
}

// probe returns why an answer does not say that the application is healthy.
func (c *Checker) probe(ctx context.Context, target string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return fmt.Errorf("GET %s: not a request", shown(target)) // the error has the whole URL
	}
	r.Header.Set("User-Agent", "connect-proxy healthcheck")
	answer, err := c.client.Do(r)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return fmt.Errorf("GET %s: %w", shown(target), err)
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer)
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fmt.Errorf("GET %s: %d %s", shown(target), answer.StatusCode, http.StatusText(answer.StatusCode))
	}
	return nil
}

// shown is a URL without what may be a secret.
func shown(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "the health check's URL"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
