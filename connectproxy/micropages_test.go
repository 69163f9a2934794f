package connectproxy

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/chromium"
	"connect-proxy/connectproxy/agenttest/fakeagent"
)

func TestTheDashboardIsAtThePortOfMicroToo(t *testing.T) {
	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 1)
	startEngine(t, agent, microAt("shop", port, "greeter")).ready()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func(verb, path string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), verb, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		body, _ := io.ReadAll(answer.Body)
		return answer.StatusCode, string(body)
	}
	if code, page := ask("GET", "/stats"); code != 200 || !strings.Contains(page, `<script src="dashboard.js"`) {
		t.Errorf("the page: %d %.100s", code, page)
	}
	var proxy struct{ Service string }
	if code, page := ask("GET", "/stats/proxy"); code != 200 || json.Unmarshal([]byte(page), &proxy) != nil || proxy.Service != "shop" {
		t.Errorf("what it asks for: %d %.100s", code, page)
	}
	for path, want := range map[string]int{"/stats/debug/pprof/": 404, "/stats/nothing": 404, "/health": 200} {
		if code, _ := ask("GET", path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	for _, path := range []string{"/stats/connections/close?id=1", "/stats/loglevel?level=debug", "/stats/logging?level=debug"} {
		if code, _ := ask("POST", path); code != 405 {
			t.Errorf("%s: %d", path, code)
		}
	}
	if _, page := ask("GET", "/stats/help"); strings.Contains(page, "POST") || strings.Contains(page, "pprof") {
		t.Errorf("help says more than there is:\n%s", page)
	}
	b := chromium.Start(t)
	b.Open(fmt.Sprintf("http://127.0.0.1:%d/stats", port), 1200, false)
	b.Until(`document.body !== null && document.body.dataset.looked === "yes"`)
	if service := b.Text("#service"); service != "shop" {
		t.Errorf("a browser shows %q", service)
	}
}
