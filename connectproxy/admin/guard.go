package admin

import (
	"net"
	"net/http"
	"strings"

	"connect-proxy/connectproxy/rebinding"
)

// guarded keeps web pages of other origins from acting through a browser on
// this machine: what changes something is only done for a request that no
// browser sent, or one of the server's own pages.
func guarded(h http.Handler) http.Handler {
	h = http.NewCrossOriginProtection().Handler(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("X-Frame-Options", "DENY")
		w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
		h.ServeHTTP(w, r)
	})
}

// named refuses requests under a name that a stranger's page may have. Such a name
// can be made to lead here, and a browser would take what is read for that page's
// own. Where other machines reach the server (remote), own is the host that it is
// bound to.
func named(remote bool, own string, h http.Handler) http.Handler {
	use := "use 127.0.0.1, [::1] or localhost"
	if remote {
		use = "a browser, and what looks like one, is to use the machine's IP address, its host name or the one that the address is configured with"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rebinding.Possible(r, remote, own) {
			http.Error(w, "asked for under a name that may not be this machine's: "+use, http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// readOnly refuses requests that may change something.
func readOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "only reading is possible from other machines", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// localHost reports that a host, with or without a port, is surely this
// machine.
func localHost(s string) bool {
	host, _, err := net.SplitHostPort(s)
	if err != nil {
		host = strings.Trim(s, "[]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
