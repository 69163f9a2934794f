package systemtest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"connect-proxy/connectproxy/agenttest"
)

// prometheus is a real one, behind what notes the queries that pass to it.
type prometheus struct {
	t       *testing.T
	address string
	// front is where the agent is told that it is.
	front *httptest.Server

	mu sync.Mutex // guards what follows
	// seen are the queries that came through front.
	seen map[string]bool
}

// newPrometheus says where a Prometheus will be, or skips the test where none is
// installed.
func newPrometheus(t *testing.T) *prometheus {
	t.Helper()
	agenttest.Program(t, "prometheus")
	p := &prometheus{t: t, address: at(agenttest.FreePort(t)), seen: make(map[string]bool)}
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: p.address})
	transport := &http.Transport{}
	forward.Transport = transport
	p.front = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.seen[r.URL.Query().Get("query")] = true
		p.mu.Unlock()
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		p.front.Close()
		transport.CloseIdleConnections()
	})
	return p
}

// start has it fetch the metrics of some proxies every second.
func (p *prometheus) start(proxies ...*proxyProcess) {
	p.t.Helper()
	var targets []string
	for _, x := range proxies {
		targets = append(targets, strconv.Quote(x.admin))
	}
	dir := p.t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	text := "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n" +
		"- job_name: proxies\n  static_configs: [{targets: [" + strings.Join(targets, ", ") + "]}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	agenttest.StartProcess(p.t, agenttest.ProcessOptions{Path: "prometheus", Args: []string{
		"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + p.address,
	}})
	agenttest.Eventually(p.t, soon, func() error {
		up, err := p.sum("http://"+p.address, "sum(up)")
		if err == nil && up != float64(len(proxies)) {
			err = fmt.Errorf("%v of %d proxies are scraped", up, len(proxies))
		}
		return err
	})
}

// sum asks for the sum of what a query gives; none is an error.
func (p *prometheus) sum(base, query string) (float64, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}
	resp, err := client.Get(base + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	var got struct {
		Data struct{ Result []struct{ Value []any } }
	}
	if err := json.Unmarshal(body, &got); err != nil || resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s: %s", query, resp.Status, body)
	}
	if len(got.Data.Result) == 0 {
		return 0, fmt.Errorf("%s: no number", query)
	}
	total := 0.0
	for _, r := range got.Data.Result {
		text, _ := r.Value[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %s", query, body)
		}
		total += v
	}
	return total, nil
}

// queries are those that have come through the agent since they were last asked
// for.
func (p *prometheus) queries() map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.seen
	p.seen = make(map[string]bool)
	return all
}
