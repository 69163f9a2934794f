package byname_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest/chromium"
)

func TestThroughAProxyWithTLSABrowserReachesServicesForItsUserAndTheirPages(t *testing.T) {
	page := chromium.Start(t, "--ignore-certificate-errors", "--host-resolver-rules=MAP proxy.example 127.0.0.1, MAP evil.example 127.0.0.1")
	asked := make(chan string, 100)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.URL.Path
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, "<!doctype html><body>here")
	}))
	t.Cleanup(service.Close)
	cfg := allowing("web")
	cfg.Route, cfg.HostNames = config.RoutePath, []string{"proxy.example"}
	p := start(t, cfg, &mesh{services: map[string]string{"web": service.Listener.Addr().String()}})
	front := httptest.NewTLSServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: p.Addr().String()})
		r.Out.Host = r.In.Host
	}})
	t.Cleanup(front.Close)
	proxied := strings.Replace(front.URL, "127.0.0.1", "proxy.example", 1)
	for _, at := range []struct{ page, path string }{{proxied + "/web/typed", "/web/by-its-page"}, {strings.Replace(service.URL, "127.0.0.1", "evil.example", 1), "/web/by-another"}} {
		page.Open(at.page, 800, false)
		page.Until(fmt.Sprintf(`location.href.startsWith(%q) && document.body?.innerText === "here"`, at.page))
		for _, method := range []string{"GET", "POST"} {
			page.Eval(fmt.Sprintf(`fetch(%q, {method: %q, mode: "no-cors"}).then(() => true, () => false)`, proxied+at.path, method))
		}
	}
	service.Close()
	close(asked)
	got := map[string]bool{}
	for what := range asked {
		got[what] = true
	}
	for what, want := range map[string]bool{"GET /typed": true, "GET /by-its-page": true, "POST /by-its-page": true, "GET /by-another": false, "POST /by-another": false} {
		if got[what] != want {
			t.Errorf("%s has reached the service: %t", what, got[what])
		}
	}
}
