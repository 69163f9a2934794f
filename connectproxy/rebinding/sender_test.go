package rebinding

import (
	"context"
	"net"
	"net/http"
	"testing"
)

func TestOfABrowserThatDoesNotSayWhosePageAsksThePageIsUnknown(t *testing.T) {
	browsers := [][]string{
		{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64)"}, {"Accept-Language", "en-US,en;q=0.9"},
		{"User-Agent", "Mozilla/5.0", "Accept-Language", "*"}, // as a page can have it
	}
	programs := [][]string{
		{}, {"User-Agent", "curl/8.5.0"}, {"User-Agent", "Go-http-client/1.1", "Accept-Encoding", "gzip"}, {"User-Agent", "python-requests/2.31.0"},
		{"User-Agent", "node", "Accept-Language", "*", "Sec-Fetch-Mode", "cors"}, // fetch of Node.js
	}
	for host, asked := range map[string]bool{
		"localhost": false, "LOCALHOST:80": false, "localhost.:80": false, "127.0.0.1:80": false, "127.3.2.1": false, "[::1]:80": false, "": false,
		"proxy.example": true, "10.0.0.1:80": true, "[2001:db8::7]": true, "[::ffff:127.0.0.1]:80": true, "0.0.0.0": true, "[::]": true,
		"app.localhost": true, "localhost:80;x": true, "localhost.proxy.example": true,
	} {
		for _, headers := range browsers {
			if got := PageUnknown(request(host, headers...)); got != asked {
				t.Errorf("%q with %q: %t", host, headers, got)
			}
			for _, said := range [][]string{{"Sec-Fetch-Site", "none"}, {"Sec-Fetch-Site", "cross-site"}, {"Origin", "null"}} {
				if PageUnknown(request(host, append(said, headers...)...)) {
					t.Errorf("%q with %q and %q: nothing is said", host, headers, said)
				}
			}
		}
		for _, headers := range programs {
			if PageUnknown(request(host, headers...)) {
				t.Errorf("%q with %q is taken for a browser's", host, headers)
			}
		}
	}
	r := request("proxy.example", "User-Agent", "Mozilla/5.0")
	if PageUnknown(r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.UnixAddr{Name: "/run/p.sock", Net: "unix"})))) {
		t.Error("a client of a unix socket is taken for a browser")
	}
}
