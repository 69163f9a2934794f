package devagent_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"connect-proxy/connectproxy/devagent"
)

// running is an agent that serves until the test ends.
type running struct {
	*devagent.Agent
	url string
}

func run(t *testing.T, o devagent.Options) running {
	t.Helper()
	a, err := devagent.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the agent ended with %v", err)
		}
	})
	return running{a, "http://" + ln.Addr().String()}
}

// said is an answer of an agent, real or not.
type said struct {
	status int
	header http.Header
	body   []byte
}

func ask(t *testing.T, url, method, path, body string) said {
	t.Helper()
	s, err := tryAsk(t.Context(), url, method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tryAsk(ctx context.Context, url, method, path, body string) (said, error) {
	req, err := http.NewRequestWithContext(ctx, method, url+path, strings.NewReader(body))
	if err != nil {
		return said{}, err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return said{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return said{resp.StatusCode, resp.Header, text}, err
}
