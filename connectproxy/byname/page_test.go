package byname_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest/chromium"
)

func TestAPageOfAnotherSiteReachesNoServiceUnderAnyNameOfThePort(t *testing.T) {
	page := chromium.Start(t, "--host-resolver-rules=MAP evil.example 127.0.0.1, MAP proxy.example 127.0.0.1")
	asked := make(chan string, 1000)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Host + r.URL.String()
		w.Header().Set("Content-Type", "text/javascript")
		_, _ = io.WriteString(w, `var secret = "read";`)
	}))
	t.Cleanup(service.Close)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><meta name=referrer content=no-referrer><body>ready")
	}))
	t.Cleanup(site.Close)
	for _, remote := range []bool{false, true} {
		cfg := allowing("db")
		cfg.Route, cfg.HostNames, cfg.RemoteClients = config.RoutePath, []string{"proxy.example"}, remote
		p := start(t, cfg, &mesh{services: map[string]string{"db": service.Listener.Addr().String()}})
		port := p.Addr().(*net.TCPAddr).Port
		page.Open(strings.Replace(site.URL, "127.0.0.1", "evil.example", 1), 800, false)
		page.Until(`document.body?.innerText === "ready"`)
		for _, host := range []string{"proxy.example", "127.0.0.1", "localhost", "0.0.0.0"} {
			page.Eval(fmt.Sprintf(`(async () => {
				const base = "http://%s:%d/db/";
				const ahead = Object.assign(document.createElement("script"), {type: "speculationrules"});
				ahead.textContent = JSON.stringify({
					prefetch: [{urls: [base + "prefetch"], eagerness: "immediate"}], prerender: [{urls: [base + "prerender"], eagerness: "immediate"}],
				});
				document.body.append(ahead);
				const ended = (e, at) => new Promise(r => { e.onload = e.onerror = r; Object.assign(e, at); document.body.append(e) });
				await Promise.allSettled([
					ended(new Image(), {src: base + "img"}),
					ended(document.createElement("script"), {src: base + "script"}),
					ended(document.createElement("iframe"), {src: base + "iframe"}),
					fetch(base + "no-cors", {mode: "no-cors", headers: {"Accept-Language": "*"}}),
					fetch(base + "post", {mode: "no-cors", method: "POST", body: "x"}),
					fetch(base + "cors"),
				]);
			})()`, host, port))
		}
		if got := page.Eval("typeof secret"); got != `"undefined"` {
			t.Errorf("other machines %t: the page has read an answer", remote)
		}
		// What its user asks for is answered where the browser says that it is that.
		page.Open(fmt.Sprintf("http://localhost:%d/db/typed", port), 800, false)
		page.Until(`document.body !== null && document.readyState === "complete"`)
		if got := page.Text("body"); !strings.Contains(got, "secret") {
			t.Errorf("other machines %t: the user is shown %q", remote, got)
		}
	}
	service.Close()
	close(asked)
	for what := range asked {
		if !strings.HasSuffix(what, "/typed") && !strings.HasSuffix(what, "/favicon.ico") {
			t.Errorf("the page had the browser ask for %s", what)
		}
	}
}

func TestAPageWhoseNameIsLedToThePortLaterReachesNoService(t *testing.T) {
	page := chromium.Start(t, chromium.MovedFlag)
	for _, remote := range []bool{false, true} {
		cfg := allowing("*")
		cfg.Route, cfg.HostNames, cfg.RemoteClients = config.RoutePath, []string{"proxy.example"}, remote
		m := &mesh{services: map[string]string{"web": app(t)}}
		p := start(t, cfg, m)
		for _, answer := range page.Moved(p.Addr().String(), "/web/x", "/", "/web/?a=b") {
			if !strings.HasPrefix(answer, "403 ") {
				t.Errorf("other machines %t: %q", remote, answer)
			}
		}
		m.mu.Lock()
		if len(m.calls) != 0 {
			t.Errorf("other machines %t: services were dialled for a page: %+v", remote, m.calls)
		}
		m.mu.Unlock()
	}
}
