package answer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/hashicorp/consul/api"
)

// each is what Each makes of a text.
func each(body io.Reader) (elements []string, err error) {
	err = Each(body, func(element []byte) error {
		elements = append(elements, string(element))
		return nil
	})
	return elements, err
}

func TestTheElementsOfAnArrayAreGivenOneByOne(t *testing.T) {
	for text, want := range map[string][]string{
		`null`:                            nil,
		` [ ] `:                           nil,
		`[1, "a]", {"b": ["\"}"]} ,null]`: {`1`, `"a]"`, `{"b": ["\"}"]}`, `null`},
		`[{"a":1,"a":2}]`:                 {`{"a":1,"a":2}`},
		"[\"\xff\"]":                      {"\"\xff\""},
	} {
		for _, body := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text))} {
			if got, err := each(body); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %q, %v", text, got, err)
			}
		}
	}
}

func TestWhatIsNoArrayIsAnError(t *testing.T) {
	for _, text := range []string{``, `{}`, `"a"`, `[1`, `[1,`, `[{"a":}]`, `[1 2]`, `<html>`, `[,1]`} {
		if got, err := each(strings.NewReader(text)); err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	stop := errors.New("stop")
	if err := Each(strings.NewReader(`[1,2]`), func([]byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}

// FuzzEach compares with encoding/json.
func FuzzEach(f *testing.F) {
	for _, text := range []string{`[]`, `null`, `[1,{"a":[{}]},"\u0041"]`, `[1e9,-0.5]`, `[`, `[1]]`, `[tru]`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := each(strings.NewReader(text))
		var want []json.RawMessage
		wantErr := json.NewDecoder(strings.NewReader(text)).Decode(&want)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("error %v, and encoding/json's is %v", err, wantErr)
		}
		if err != nil {
			return
		}
		if len(got) != len(want) {
			t.Fatalf("%q, and encoding/json has %q", got, want)
		}
		for i := range got {
			if got[i] != string(want[i]) {
				t.Errorf("element %d: %q, and encoding/json has %q", i, got[i], want[i])
			}
		}
	})
}

// ask asks a server that answers everything with a status and a body, by a client
// with Transport or without, and counts the server's connections.
func ask(t *testing.T, with bool, status int, body string, test func(c *api.Client)) (connections int64) {
	t.Helper()
	var n atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Consul-Index", "7")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			n.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	var transport http.RoundTripper = &http.Transport{}
	if with {
		transport = Transport(transport)
	}
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	c, err := api.NewClient(&api.Config{Address: s.URL, HttpClient: client})
	if err != nil {
		t.Fatal(err)
	}
	test(c)
	return n.Load()
}

func TestAnAnswerIsTakenAsItCame(t *testing.T) {
	const body = `{"a": 1,  "b": [ ]}`
	for _, with := range []bool{true, false} {
		var into bytes.Buffer
		connections := ask(t, with, http.StatusOK, body, func(c *api.Client) {
			for range 3 {
				got, meta, err := Query(t.Context(), c, "/v1/agent/service/web", &api.QueryOptions{}, &into)
				if err != nil || string(got) != body || meta.LastIndex != 7 {
					t.Errorf("with Transport: %t: %q, %+v, %v", with, got, meta, err)
				}
			}
		})
		if connections != 1 {
			t.Errorf("with Transport: %t: %d connections", with, connections)
		}
	}
}

func TestAnErrorStaysConsulsToTell(t *testing.T) {
	for _, with := range []bool{true, false} {
		ask(t, with, http.StatusForbidden, "Permission denied", func(c *api.Client) {
			var into bytes.Buffer
			_, _, err := Query(t.Context(), c, "/v1/agent/service/web", &api.QueryOptions{}, &into)
			var status api.StatusError
			if !errors.As(err, &status) || status.Code != http.StatusForbidden || !strings.Contains(status.Body, "Permission denied") {
				t.Errorf("with Transport: %t: %v", with, err)
			}
		})
	}
}

func TestWhatIsLeftOfABodyCostsNoConnection(t *testing.T) {
	connections := ask(t, true, http.StatusOK, `[1, 2] and more`, func(c *api.Client) {
		for range 3 {
			var out []int
			ctx, taken := With(context.WithoutCancel(t.Context()), func(body io.Reader) error {
				_, err := io.CopyN(io.Discard, body, 1)
				return err
			})
			if _, err := c.Raw().Query("/v1/x", &out, (&api.QueryOptions{}).WithContext(ctx)); err != nil || out != nil {
				t.Errorf("%v, %v", out, err)
			}
			if done, err := taken.Done(); !done || err != nil {
				t.Errorf("%t, %v", done, err)
			}
		}
	})
	if connections != 1 {
		t.Errorf("%d connections", connections)
	}
}

func TestAnErrorOfTheReaderIsKept(t *testing.T) {
	ask(t, true, http.StatusOK, `{}`, func(c *api.Client) {
		ctx, taken := With(t.Context(), func(body io.Reader) error { return Each(body, nil) })
		if _, err := c.Raw().Query("/v1/x", new([]int), (&api.QueryOptions{}).WithContext(ctx)); err != nil {
			t.Error(err)
		}
		if done, err := taken.Done(); !done || err == nil {
			t.Errorf("%t, %v", done, err)
		}
	})
}
