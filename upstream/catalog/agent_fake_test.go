package catalog

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest/traffic"
	"connect-proxy/upstream"
	"connect-proxy/upstream/answer"
)

// recorded is an answer of a real agent, of the version that the name says.
func recorded(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "agent", "upstream-"+name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// entries decodes a recorded answer of the health endpoint.
func entries(t *testing.T, name string) []*api.ServiceEntry {
	t.Helper()
	var out []*api.ServiceEntry
	if err := json.Unmarshal([]byte(recorded(t, name)), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// reply is one answer of the fake agent. An index above the one asked with is
// given at once, others when it is raised.
type reply struct {
	status int // 0 is 200
	// silent gives none at all.
	silent bool
	body   string
	index  uint64
	header map[string]string
}

// agent answers the paths that a test gives it, blocking as a real one does.
type agent struct {
	mu      sync.Mutex // guards what follows
	replies map[string]reply
	asked   []*http.Request
	changed chan struct{}
}

// newAgent gives an agent and a client that reaches it without a socket, so
// that both live in a synctest bubble.
func newAgent(t *testing.T) (*agent, *api.Client) {
	t.Helper()
	a := &agent{replies: make(map[string]reply), changed: make(chan struct{})}
	c, err := api.NewClient(&api.Config{Address: "127.0.0.1:8500", HttpClient: &http.Client{Transport: answer.Transport(traffic.Direct{Handler: a})}})
	if err != nil {
		t.Fatal(err)
	}
	return a, c
}

// answer gives the path an answer, or the path with a method before it or with
// "?cached", "?filter=", "?dc=" or "?dc=&filter=" after it.
func (a *agent) answer(path string, r reply) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.replies[path] = r
	close(a.changed)
	a.changed = make(chan struct{})
}

// requests is every request so far for the path.
func (a *agent) requests(path string) []*http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []*http.Request
	for _, r := range a.asked {
		if r.URL.Path == path {
			out = append(out, r)
		}
	}
	return out
}

// total is how many requests there have been.
func (a *agent) total() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.asked)
}

// asks is how many requests so far could have had the answer given for key.
func (a *agent) asks(key string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, r := range a.asked {
		if slices.Contains(keys(r), key) {
			n++
		}
	}
	return n
}

// keys are those of the answers that a request may have, in order of preference.
func keys(r *http.Request) []string {
	q := r.URL.Query()
	cached := ""
	if q.Has("cached") {
		cached = r.URL.Path + "?cached"
	}
	return []string{
		cached,
		r.Method + " " + r.URL.Path,
		r.URL.Path + "?dc=" + q.Get("dc") + "&filter=" + q.Get("filter"),
		r.URL.Path + "?filter=" + q.Get("filter"),
		r.URL.Path + "?dc=" + q.Get("dc"),
		r.URL.Path,
	}
}

// reply finds the answer to a request: one for the cache, its method, its filter
// or its datacenter comes before that of the path alone. The caller holds mu.
func (a *agent) reply(r *http.Request) (reply, bool) {
	for _, key := range keys(r) {
		if got, ok := a.replies[key]; ok {
			return got, true
		}
	}
	return reply{}, false
}

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	index, _ := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
	a.mu.Lock()
	a.asked = append(a.asked, r)
	a.mu.Unlock()
	for {
		a.mu.Lock()
		got, ok := a.reply(r)
		changed := a.changed
		a.mu.Unlock()
		if !ok {
			http.Error(w, "no such thing", http.StatusNotFound)
			return
		}
		if !got.silent && (index == 0 || got.index > index || got.status != 0) {
			for k, v := range got.header {
				w.Header().Set(k, v)
			}
			w.Header().Set("X-Consul-Index", strconv.FormatUint(got.index, 10))
			w.Header().Set("X-Consul-LastContact", "0")
			w.Header().Set("X-Consul-KnownLeader", "true")
			if got.status != 0 {
				w.WriteHeader(got.status)
			}
			_, _ = w.Write([]byte(got.body))
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// latest lets d pass and returns the set that there is then.
func latest(t *testing.T, r resolver, d time.Duration) upstream.Set {
	t.Helper()
	after(d)
	s, ok := r.Set()
	if !ok {
		t.Fatalf("there is no set; status %+v", r.Status())
	}
	return s
}
