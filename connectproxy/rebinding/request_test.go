package rebinding

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func request(host string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host = host
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func TestOnThisMachineNothingIsAnsweredUnderANameThatAStrangerMayHave(t *testing.T) {
	for host, want := range map[string]bool{
		"": false, "localhost": false, "LOCALHOST:80": false, "localhost.": false, "127.0.0.1:80": false, "127.3.2.1": false, "[::1]:80": false, "[::1]": false,
		"evil.example": true, "evil.example:80": true, "localhost.evil.example": true, "printer": true, "app.localhost": true, "ai.": true, "localhost:80;x": true, "localhost:secret": true, "[localhost]": true, "127.0.0.1:99999": true,
		"192.0.2.7": true, "0.0.0.0:80": true, "[::]:80": true, "[::ffff:127.0.0.1]": true, "[::ffff:7f00:1]:80": true, "proxy.example": true,
	} {
		if got := Possible(request(host), false, "127.0.0.1", "0.0.0.0", "::"); got != want {
			t.Errorf("%q: %t", host, got)
		}
	}
	for host, want := range map[string]bool{"Proxy.example:80": false, "proxy.example.": false, "evil.proxy.example": true, "proxy": true} {
		if got := Possible(request(host, "Accept-Language", "en"), false, "127.0.0.1", "proxy.example"); got != want {
			t.Errorf("%q, where proxy.example is the server's own: %t", host, got)
		}
	}
}

func TestBrowsersOfOtherMachinesAreAskedForANameThatNoStrangerHas(t *testing.T) {
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{
		"evil.example:9102": true, "evil.example": true, "printer": true, "0.0.0.0:9102": true, "[::ffff:127.0.0.1]": true,
		"192.0.2.7:9102": false, "[2001:db8::7]:9102": false, "localhost": false, "Proxy.example:9102": false, machine + ":9102": false, "": false,
	} {
		for _, browser := range [][]string{
			{"Accept-Language", "en"}, {"Accept-Language", ""}, {"User-Agent", "Mozilla/5.0 (X11; Linux x86_64)"},
			{"Origin", "http://evil.example"}, {"Sec-Fetch-Site", "same-origin"},
		} {
			if got := Possible(request(host, browser...), true, "proxy.example", "0.0.0.0"); got != want {
				t.Errorf("%q with %q: %t", host, browser, got)
			}
		}
		for _, program := range []string{"Prometheus/3.1.0", "curl/8.5.0", "Go-http-client/1.1", ""} {
			if Possible(request(host, "User-Agent", program, "Accept-Encoding", "gzip"), true, "proxy.example") {
				t.Errorf("%q by %q is taken for a page's", host, program)
			}
		}
	}
}

func TestNoBrowserComesOverAUnixSocket(t *testing.T) {
	r := request("evil.example", "Accept-Language", "en")
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.UnixAddr{Name: "/run/p.sock", Net: "unix"})))
	if Possible(r, false) || Possible(r, true) {
		t.Error("a client of a unix socket is refused")
	}
}
