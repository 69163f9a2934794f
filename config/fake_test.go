package config

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest/traffic"
	"connect-proxy/upstream/answer"
)

const recorded = "../testdata/agent/"

// reply is what a fake agent says of one path.
type reply struct {
	status int // 200 if zero
	body   string
	hash   string
}

// fakeAgent answers in the process, so that its clock is the test's. It blocks
// on a hash as agents do.
type fakeAgent struct {
	mu      sync.Mutex // guards what follows
	replies map[string]reply
	changed chan struct{}
	asked   []string // paths, and their hashes
}

func newFakeAgent(replies map[string]reply) *fakeAgent {
	return &fakeAgent{replies: replies, changed: make(chan struct{})}
}

// set changes what is said of a path, and wakes whoever waits for it.
func (f *fakeAgent) set(path string, r reply) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replies[path] = r
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeAgent) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.asked...)
}

func (f *fakeAgent) now(r *http.Request) (reply, bool, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	got, ok := f.replies[r.URL.Path]
	return got, ok, f.changed
}

func (f *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	hash := r.URL.Query().Get("hash")
	f.mu.Lock()
	f.asked = append(f.asked, r.URL.Path+"#"+hash)
	f.mu.Unlock()

	wait, _ := time.ParseDuration(r.URL.Query().Get("wait"))
	over := time.NewTimer(wait)
	defer over.Stop()
	got, ok, changed := f.now(r)
	for blocks := hash != ""; blocks && ok && got.status == 0 && got.hash == hash; {
		select {
		case <-changed:
			got, ok, changed = f.now(r)
		case <-over.C:
			got, ok, _ = f.now(r)
			blocks = false
		case <-r.Context().Done():
			return
		}
	}
	if !ok {
		got = reply{status: http.StatusNotFound, body: "Invalid URL path: not a recognized HTTP API endpoint"}
	}
	if got.hash != "" {
		w.Header().Set("X-Consul-ContentHash", got.hash)
	}
	if got.status != 0 {
		w.WriteHeader(got.status)
	}
	_, _ = w.Write([]byte(got.body))
}

// source makes a Source of the fake.
func (f *fakeAgent) source(t *testing.T, o AgentOptions) *Agent {
	t.Helper()
	client, err := api.NewClient(&api.Config{Address: "agent.test", HttpClient: &http.Client{Transport: answer.Transport(traffic.Direct{Handler: f})}})
	if err != nil {
		t.Fatal(err)
	}
	o.Client, o.Address = client, "agent.test"
	return NewAgent(o)
}

// recording is an answer of a real agent.
func recording(t *testing.T, name string) reply {
	t.Helper()
	return reply{body: string(read(t, recorded+name)), hash: name}
}
