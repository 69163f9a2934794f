package adminapi

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest/chromium"
)

// shownPage is the dashboard in a browser.
type shownPage struct{ *chromium.Page }

func startDashboard(t *testing.T, flags ...string) shownPage {
	t.Helper()
	return shownPage{chromium.Start(t, flags...)}
}

// open goes to a page and waits until it has looked at the proxy.
func (d shownPage) open(url string, width int, dark bool) {
	d.Open(url, width, dark)
	d.Until(`document.body !== null && document.body.dataset.looked === "yes"`)
}

func TestTheDashboardLoadsNothingFromElsewhere(t *testing.T) {
	o := Options{Source: busyProxy()}
	for _, target := range []string{"/", "/dashboard.css", "/dashboard.js"} {
		w := page(t, o, "GET", target)
		if w.Code != http.StatusOK || w.Body.Len() == 0 {
			t.Fatalf("%s: %d", target, w.Code)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", target, csp)
		}
		for _, no := range []string{"https://", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "<style", "onclick", "onload"} {
			if strings.Contains(strings.ReplaceAll(w.Body.String(), "http://www.w3.org/2000/svg", ""), no) {
				t.Errorf("%s has %s", target, no)
			}
		}
	}
	if w := page(t, o, "GET", "/something-else"); w.Code != http.StatusNotFound {
		t.Errorf("another path: %d", w.Code)
	}
}

// refuse has the log tell of refused connections.
func refuse(o *Options) {
	l, h := newEvents()
	o.Events = h
	l.Warn("connection refused", "listener", "public", "reason", "denied", "client", "10.0.0.9:51000",
		"peer", "spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/dc1/svc/api", "error", "denied: Default intention policy")
	l.Info("connection refused", "listener", "public", "reason", "handshake_failed", "client", "10.0.0.66:40001", "error", "tls: first record does not look like a TLS handshake", "suppressed", 7)
	l.Warn("instance set aside", "upstream", "db", "instance", "node-b/db-2", "address", "10.0.0.12:20000", "reason", "dial_timeout", "error", "i/o timeout", "retry_in", "41s")
	l.Info("certificates in force", "serial", "0c:41:7e", "not_after", "2026-12-01T00:00:00Z")
}

func TestThePageShowsWhoTalksToWhomWhoWasRefusedAndWhy(t *testing.T) {
	b := startDashboard(t)
	f := busyProxy()
	o := Options{Source: f}
	refuse(&o)
	address := serve(t, Bounded(Pages(o), nil))
	stop := moving(t, f)
	b.open("http://"+address+"/", 1280, false)
	b.Until(`document.querySelector("#pair-table tbody svg polyline").getAttribute("points").split(" ").length >= 3`)
	if os.Getenv(chromium.Screenshots) != "" { // plots that show something take their time
		b.Until(`document.querySelector("#pair-table tbody svg polyline").getAttribute("points").split(" ").length >= 9`)
		b.Shoot("readme", false)
	}
	stop()
	for selector, parts := range map[string][]string{
		"header":            {"orders", "✓ ready", "orders-1-sidecar-proxy", "agent http://127.0.0.1:8500"},
		"#tiles":            {"6", "kB/s", "Refused, last 5 min\n9"},
		"#pair-table":       {"web", "orders", "db", "4"},
		"#refusal-list":     {"svc/api at public: an intention, or the default policy, does not allow this caller (denied), 1 time", "consul intention create -allow", "8 times"},
		"#upstreams":        {"node-b/db-2", "set aside", "for 41 s more after 3 failures: dial tcp 10.0.0.12:20000: i/o timeout", "no healthy instance"},
		"#certificate-list": {"22 h 0 min left", "0c:41:7e", "signs today"},
		"#intention-table":  {"✓ allowed", "× denied", "Default intention policy", "31 s ago"},
		"#event-list":       {"instance set aside", "certificates in force"},
	} {
		text := b.Text(selector)
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("%s lacks %q:\n%s", selector, part, text)
			}
		}
	}
	if len(b.Said) > 0 {
		t.Errorf("the browser complains: %q", b.Said)
	}
}

// moving has the proxy's connections pass bytes until it is told to stop.
func moving(t *testing.T, f *fakeProxy) (stop func()) {
	t.Helper()
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f.move()
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

func TestAHostileNameNeverBecomesPartOfThePage(t *testing.T) {
	b := startDashboard(t)
	const hostile = `"'><img src=x onerror="window.owned=1"><script>window.owned=1</script>` + "\u202e"
	f := busyProxy()
	c := f.connections[0]
	c.Source, c.Destination, c.Peer, c.Client, c.Instance = hostile, hostile, hostile, hostile, hostile
	f.connections = []Connection{c}
	f.upstreams[0].Destination, f.upstreams[0].Instances[1].Error, f.upstreams[0].Instances[0].ID = hostile, hostile, hostile
	f.upstreams[0].Failures = map[string]uint64{hostile: 1}
	f.intentions.Decisions[0].Peer, f.intentions.Decisions[0].Source, f.intentions.Decisions[0].Reason = hostile, hostile, hostile
	f.certs.SpiffeID, f.certs.Roots[0].ID, f.proxy.Service, f.proxy.Reasons = hostile, hostile, hostile, []string{hostile}
	f.config.Settings[0] = Setting{hostile, hostile, hostile}
	f.config.Warnings = []string{hostile}
	o := Options{Source: f}
	l, h := newEvents()
	o.Events = h
	l.Warn("connection refused", "reason", hostile, "listener", hostile, "peer", hostile, "error", hostile)
	b.open("http://"+serve(t, Bounded(Pages(o), nil))+"/", 1280, false)
	b.Eval(`document.querySelectorAll("details").forEach((d) => d.open = true)`)
	b.Until(`document.querySelector("#connection-table tbody td") !== null`)
	if got := b.Eval(`[window.owned === undefined, document.querySelectorAll("main img, main script, header img, header script").length].join()`); got != `"true,0"` {
		t.Errorf("a name became part of the page: %s", got)
	}
	for _, selector := range []string{"#service", "#pair-table", "#connection-table", "#refusal-list", "#upstreams", "#certificate-list", "#intention-table", "#config-table", "#warnings", "#notices", "#event-list"} {
		if !strings.Contains(b.Text(selector), "<script>window.owned=1</script>") {
			t.Errorf("%s does not show the name as text:\n%s", selector, b.Text(selector))
		}
	}
	if len(b.Said) > 0 {
		t.Errorf("the browser complains: %q", b.Said)
	}
}

func TestAConnectionIsClosedFromThePage(t *testing.T) {
	b := startDashboard(t)
	f := busyProxy()
	b.open("http://"+serve(t, Bounded(Pages(Options{Source: f}), nil))+"/", 1280, false)
	b.Eval(`window.confirm = () => true; document.getElementById("each").open = true`)
	b.Until(`document.querySelector("#connection-table button") !== null`)
	b.Eval(`document.querySelector("#connection-table button[aria-label='Close connection 5']").click()`)
	b.Until(`document.querySelectorAll("#connection-table tbody tr").length === 5`)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.closed) != 1 || f.closed[0] != 5 {
		t.Errorf("closed %v", f.closed)
	}
}

func TestThePageSaysSoWhenTheAgentOrTheProxyIsAway(t *testing.T) {
	b := startDashboard(t)
	f := busyProxy()
	b.open("http://"+serve(t, Bounded(Pages(Options{Source: f}), nil))+"/", 1280, true)
	f.set(func(f *fakeProxy) {
		f.proxy.Agent.Problem, f.proxy.Agent.SilentSeconds = "dial tcp 127.0.0.1:8500: connection refused", 130
	})
	b.Until(`document.querySelector("#notices").innerText.includes("The agent does not answer for 2 min")`)
	if !strings.Contains(b.Text("#pair-table"), "web") {
		t.Error("what is known is not shown any more")
	}
	b.Eval(`window.fetch = () => Promise.reject(new Error("gone"))`)
	b.Until(`document.querySelector("#state").innerText === "no answer" && document.querySelector("#notices").innerText.includes("what is below is old")`)
}

// What people who do not see the page, or have no mouse or little room, need.
func TestThePageIsForAPhoneAKeyboardAndAScreenReader(t *testing.T) {
	b := startDashboard(t)
	f := busyProxy()
	o := Options{Source: f}
	refuse(&o)
	address := serve(t, Bounded(Pages(o), nil))
	defer moving(t, f)()
	for _, width := range []int{360, 768, 1280} {
		for _, dark := range []bool{false, true} {
			b.open("http://"+address+"/", width, dark)
			b.Eval(`document.querySelectorAll("details").forEach((d) => d.open = true)`)
			b.Until(`document.querySelector("#connection-table button") !== null && document.querySelectorAll("#pair-table polyline").length > 0 && document.querySelector("#pair-table polyline").getAttribute("points").split(" ").length > 3`)
			if got := b.Eval(`document.documentElement.scrollWidth - window.innerWidth`); got != "0" {
				t.Errorf("at %d pixels the page is %s wider than the window", width, got)
			}
			b.Shoot(strings.Join([]string{"dashboard", map[int]string{360: "phone", 768: "tablet", 1280: "desktop"}[width], map[bool]string{false: "light", true: "dark"}[dark]}, "-"), true)
			if got := b.Eval(contrast); got != "[]" {
				t.Errorf("at %d pixels, dark %t, too little contrast: %s", width, dark, got)
			}
		}
	}
	for what, expression := range map[string]string{
		"each plot says in words what it shows": `[...document.querySelectorAll("svg")].every((s) => s.getAttribute("role") === "img" && s.getAttribute("aria-label"))`,
		"each section has its heading":          `[...document.querySelectorAll("section")].every((s) => document.getElementById(s.getAttribute("aria-labelledby")).tagName === "H2")`,
		"each column has a heading":             `[...document.querySelectorAll("th")].every((h) => h.scope === "col" && h.textContent)`,
		"each button says what it does":         `[...document.querySelectorAll("button")].every((b) => b.innerText.trim() && (b.id === "pause" || b.getAttribute("aria-label")))`,
		"notices are read out":                  `document.getElementById("notices").getAttribute("role") === "status"`,
		"the page has a language":               `document.documentElement.lang === "en"`,
	} {
		if b.Eval(expression) != "true" {
			t.Errorf("not so: %s", what)
		}
	}
	key := func(name string) {
		for _, kind := range []string{"keyDown", "keyUp"} {
			b.Do("Input.dispatchKeyEvent", map[string]any{"type": kind, "key": name, "code": name, "windowsVirtualKeyCode": map[string]int{"Tab": 9, "Enter": 13}[name], "text": map[string]string{"Enter": "\r"}[name]}, nil)
		}
	}
	key("Tab")
	if got := b.Eval(`document.activeElement.className`); got != `"skip"` {
		t.Errorf("the first stop is %s", got)
	}
	key("Tab")
	key("Enter")
	if got := b.Eval(`document.getElementById("pause").getAttribute("aria-pressed")`); got != `"true"` {
		t.Errorf("the keyboard does not pause: %s", got)
	}
}

// contrast lists the texts whose colour is too near to the one behind them, by
// the formula of WCAG, for 4.5 to 1.
const contrast = `(() => {
  const rgb = (s) => s.match(/[\d.]+/g).map(Number);
  const light = (c) => c.slice(0, 3).map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  return [...document.querySelectorAll("body *")].filter((e) => e.childNodes.length && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) && e.offsetParent)
    .map((e) => { const a = light(rgb(getComputedStyle(e).color)), b = light(behind(e)); return [e.tagName + "." + e.className, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]; })
    .filter(([, ratio]) => ratio < 4.5);
})()`
