package agent

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
)

// An agent that takes a question and never answers must not hold on to who
// asked: consul/api has no context for it.
func TestAQuestionThatDoesNotBlockHasATimeLimit(t *testing.T) {
	over := make(chan struct{})
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = w.Write([]byte(`{"Config": {}}`))
			return
		}
		select {
		case <-over:
		case <-r.Context().Done():
		}
	}))
	defer agent.Close()
	defer close(over)
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	tokens := &tokenTransport{base: base, logger: hclog.NewNullLogger(), limit: 50 * time.Millisecond}
	client, err := api.NewClient(&api.Config{
		Address: agent.Listener.Addr().String(), HttpClient: &http.Client{Transport: tokens},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Agent().ConnectAuthorize(&api.AgentAuthorizeParams{Target: "web"})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a question without an answer ended with %v", err)
	}
	if _, err := client.Agent().Self(); err != nil {
		t.Errorf("a question with one: %v", err)
	}
}

func TestATokenFileIsReadAsPeopleSaveIt(t *testing.T) {
	const token = "b1a05eed-e700-4000-8000-000000000001"
	wide := func(text string) string {
		var b strings.Builder
		for _, c := range []byte(text) {
			b.Write([]byte{c, 0})
		}
		return b.String()
	}
	file := filepath.Join(t.TempDir(), "token")
	for name, c := range map[string]struct {
		content, want string
		problem       string
	}{
		"as it is":                 {token, token, ""},
		"with LF":                  {token + "\n", token, ""},
		"with CRLF":                {token + "\r\n", token, ""},
		"with a byte order mark":   {"\xEF\xBB\xBF" + token + "\r\n", token, ""},
		"in UTF-16":                {"\xFF\xFE" + wide(token+"\r\n"), "", "the file is UTF-16: save it as UTF-8"},
		"in UTF-16 without a mark": {wide(token), "", "the file is UTF-16: save it as UTF-8"},
		"with what is around it":   {"AccessorID: x\nSecretID: " + token + "\n", "", "not a token"},
		"empty":                    {" \r\n", "", "empty"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := readToken(file)
			if got != c.want || (err == nil) != (c.problem == "") || err != nil && (!strings.Contains(err.Error(), c.problem) || strings.Contains(err.Error(), token)) {
				t.Errorf("got %q, %v", got, err)
			}
			_, err = NewClient(Options{Address: "127.0.0.1:1", TokenFile: file}, hclog.NewNullLogger())
			if refused := c.problem != "" && c.problem != "empty"; (err != nil) != refused || refused && !strings.Contains(err.Error(), file) {
				t.Errorf("at start: %v", err)
			}
			var log bytes.Buffer
			tokens := &tokenTransport{file: file, last: "before", logger: hclog.New(&hclog.LoggerOptions{Output: &log})}
			want := c.want
			if c.problem != "" {
				want = "before"
			}
			for range 3 {
				if got := tokens.current(); got != want {
					t.Errorf("in use: %q, want %q", got, want)
				}
			}
			if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), c.problem) || strings.Contains(log.String(), token) {
				t.Errorf("log:\n%s", log.String())
			}
		})
	}
}
