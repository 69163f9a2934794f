package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connect-proxy/connectproxy/admin"
	"connect-proxy/listener/listenertest"
)

func run(t *testing.T, s *admin.Server) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	listenertest.Eventually(t, "it listens", func() bool { return s.Addr() != nil })
	return s.Addr().String()
}

// decode asks for a page and reads its JSON.
func decode[T any](t *testing.T, o Options, target string) T {
	t.Helper()
	w := page(t, o, http.MethodGet, target)
	var v T
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", target, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%s: %v", target, err)
	}
	return v
}

func TestEachPageTellsWhatTheSourceKnows(t *testing.T) {
	f := busyProxy()
	o := Options{Source: f}
	if p := decode[Proxy](t, o, "/proxy"); p.Service != "orders" || !p.Ready || len(p.Listeners) != 1 {
		t.Errorf("proxy %+v", p)
	}
	c := decode[Connections](t, o, "/connections?limit=2")
	if c.Total != 6 || len(c.Connections) != 2 || c.Connections[0].ID != 6 {
		t.Errorf("connections %+v", c)
	}
	want := Pair{"inbound", "web", "orders", 4, 6000, 5400000}
	if len(c.Pairs) != 2 || c.Pairs[0] != want {
		t.Errorf("pairs %+v", c.Pairs)
	}
	if u := decode[[]Upstream](t, o, "/upstreams"); len(u) != 2 || !u[0].Instances[1].SetAside || u[0].Instances[1].Error == "" {
		t.Errorf("upstreams %+v", u)
	}
	if got := decode[Certificates](t, o, "/certificates"); got.Leaf.Serial != "0c:41:7e" || !got.Roots[0].Active {
		t.Errorf("certificates %+v", got)
	}
	if i := decode[Intentions](t, o, "/intentions"); len(i.Decisions) != 2 || i.Decisions[1].Allowed {
		t.Errorf("intentions %+v", i)
	}
	if got := decode[Config](t, o, "/config"); got.Settings[1].Origin != "default" {
		t.Errorf("config %+v", got)
	}
	if r := decode[map[string]Explanation](t, o, "/reasons"); r["denied"].Advice == "" {
		t.Errorf("reasons %+v", r)
	}
}

func TestEventsAreGivenSinceTheLastOneSeen(t *testing.T) {
	l, h := newEvents()
	o := Options{Source: busyProxy(), Events: h}
	l.Warn("instance set aside", "instance", "a")
	first := decode[Events](t, o, "/events")
	l.Info("certificates in force")
	next := decode[Events](t, o, fmt.Sprint("/events?since=", first.Last))
	if len(first.Events) != 1 || len(next.Events) != 1 || next.Events[0].Kind != "certificate" || next.Last != 2 {
		t.Errorf("%+v, then %+v", first, next)
	}
	if again := decode[Events](t, o, "/events?since=2"); len(again.Events) != 0 || again.Last != 2 {
		t.Errorf("again %+v", again)
	}
}

func TestAConnectionIsClosedOnceAndByPostAlone(t *testing.T) {
	f := busyProxy()
	o := Options{Source: f}
	for _, tc := range []struct {
		method, target string
		code           int
	}{
		{"GET", "/connections/close?id=3", 405},
		{"POST", "/connections/close", 400},
		{"POST", "/connections/close?id=x", 400},
		{"POST", "/connections/close?id=3", 200},
		{"POST", "/connections/close?id=3", 404},
	} {
		if w := page(t, o, tc.method, tc.target); w.Code != tc.code {
			t.Errorf("%s %s: %d %s", tc.method, tc.target, w.Code, w.Body)
		}
	}
	if len(f.closed) != 1 || f.closed[0] != 3 {
		t.Errorf("closed %v", f.closed)
	}
}

type fakeLevel struct{ level string }

func (l *fakeLevel) Get() string { return l.level }

func (l *fakeLevel) Set(s string) error {
	if s != "debug" {
		return errors.New("give one of trace, debug")
	}
	l.level = s
	return nil
}

func TestTheLogsLevelIsReadAndSet(t *testing.T) {
	o := Options{Source: busyProxy(), Level: &fakeLevel{"info"}}
	if got := decode[LogLevel](t, o, "/loglevel"); got.Level != "info" {
		t.Errorf("level %+v", got)
	}
	for target, code := range map[string]int{"/loglevel?level=loud": 400, "/loglevel?level=debug": 200, "/logging?level=debug": 200} {
		if w := page(t, o, "POST", target); w.Code != code {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	if w := page(t, o, "GET", "/logging?level=debug"); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("set by GET: %d", w.Code)
	}
}

func TestToolsMadeForEnvoyGetWhatTheyAskFor(t *testing.T) {
	f := busyProxy()
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "up 1\n") })
	o := Options{Source: f, Metrics: metrics}
	if s := page(t, o, "GET", "/clusters").Body.String(); !strings.Contains(s, "db::10.0.0.12:20000::health_flags::/failed_outlier_check\n") ||
		!strings.Contains(s, "db::10.0.0.11:20000::cx_active::2\n") {
		t.Errorf("clusters:\n%s", s)
	}
	for _, target := range []string{"/stats?format=prometheus", "/stats/prometheus"} {
		if s := page(t, o, "GET", target).Body.String(); s != "up 1\n" {
			t.Errorf("%s: %s", target, s)
		}
	}
	if w := page(t, o, "GET", "/stats"); w.Code != http.StatusNotFound {
		t.Errorf("statistics in another form: %d", w.Code)
	}
	if w := page(t, Options{Source: f}, "GET", "/stats/prometheus"); w.Code != http.StatusNotFound {
		t.Errorf("without metrics: %d", w.Code)
	}
	info := decode[map[string]any](t, o, "/server_info")
	if info["state"] != "LIVE" || info["uptime_current_epoch"] != "93784s" {
		t.Errorf("server_info %v", info)
	}
	f.set(func(f *fakeProxy) { f.proxy.Draining = true })
	if info := decode[map[string]any](t, o, "/server_info"); info["state"] != "DRAINING" {
		t.Errorf("server_info %v", info)
	}
	if s := page(t, o, "GET", "/certs").Body.String(); !strings.Contains(s, `"days_until_expiration": "0"`) || !strings.Contains(s, `"uri": "spiffe://`) {
		t.Errorf("certs:\n%s", s)
	}
}

// ask sends a request by hand, so that Host and Origin are what a page that
// means harm would have a browser send.
func ask(t *testing.T, address, method, target, host string, header map[string]string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	for k, v := range header {
		r.Header.Set(k, v)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func TestWhoKnowsEnvoysPagesFindsHisWay(t *testing.T) {
	o := Options{Source: busyProxy()}
	if text := page(t, o, "GET", "/listeners").Body.String(); !strings.Contains(text, "public::10.0.0.7:20000\n") {
		t.Errorf("/listeners is %q", text)
	}
	if w := page(t, o, "GET", "/config_dump"); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "/config has") {
		t.Errorf("/config_dump is %d %s", w.Code, w.Body)
	}
	w := httptest.NewRecorder()
	Help(Pages(o)).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/help", nil))
	for _, line := range []string{"GET /\n", "GET /connections\n", "POST /connections/close\n"} {
		if !strings.Contains(w.Body.String(), line) {
			t.Errorf("%q is not in %s", line, w.Body)
		}
	}
}

func TestAPageOfSomebodyElseNeitherReadsNorChangesAnything(t *testing.T) {
	f := busyProxy()
	address := serve(t, Bounded(Pages(Options{Source: f, Level: &fakeLevel{"info"}}), nil))
	for name, tc := range map[string]struct {
		method, target, host string
		header               map[string]string
		code                 int
	}{
		"the dashboard itself":      {"POST", "/connections/close?id=1", address, map[string]string{"Origin": "http://" + address, "Sec-Fetch-Site": "same-origin"}, 200},
		"a cross-site post":         {"POST", "/connections/close?id=2", address, map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, 403},
		"one of an old browser":     {"POST", "/loglevel?level=debug", address, map[string]string{"Origin": "https://evil.example"}, 403},
		"one without an origin":     {"POST", "/connections/close?id=2", address, map[string]string{"Origin": "null"}, 403},
		"a name made to lead here":  {"GET", "/connections", "evil.example", nil, 403},
		"the same to change":        {"POST", "/connections/close?id=2", "evil.example", map[string]string{"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, 403},
		"a link that closes":        {"GET", "/connections/close?id=2", address, map[string]string{"Sec-Fetch-Site": "cross-site"}, 405},
		"a form of another port":    {"POST", "/logging?level=debug", address, map[string]string{"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"}, 403},
		"the dashboard by any name": {"GET", "/", "evil.example:19000", nil, 403},
	} {
		if code := ask(t, address, tc.method, tc.target, tc.host, tc.header); code != tc.code {
			t.Errorf("%s: %d, want %d", name, code, tc.code)
		}
	}
	if len(f.closed) != 1 || f.closed[0] != 1 {
		t.Errorf("closed %v", f.closed)
	}
}

func TestNothingIsChangedFromOtherMachines(t *testing.T) {
	f := busyProxy()
	s, err := admin.New(admin.Options{Name: "admin", Address: "0.0.0.0:0", AllowRemote: true, Pages: Bounded(Pages(Options{Source: f, Level: &fakeLevel{"info"}}), nil)})
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(run(t, s))
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"/connections/close?id=1", "/loglevel?level=debug", "/logging?level=debug"} {
		if code := ask(t, "127.0.0.1:"+port, "POST", target, "127.0.0.1:"+port, nil); code != http.StatusForbidden {
			t.Errorf("%s: %d", target, code)
		}
	}
	if len(f.closed) != 0 {
		t.Errorf("closed %v", f.closed)
	}
}
