package micro

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"connect-proxy/connectproxy/rebinding"
	"connect-proxy/listener"
)

// isPage reports whether a request is for a page about the proxy: the dashboard
// with what it asks for, or its health.
func (s *Server) isPage(r *http.Request) bool {
	path := r.URL.Path
	return s.o.Pages != nil && (path == "/stats" || path == "/health" || strings.HasPrefix(path, "/stats/"))
}

// servePage answers for a page. They are for people at this machine, so that a
// browser may ask for them, but for no page of another site.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	switch {
	case !ownPage(r):
		s.denyPage(w, r, errBrowser)
		return
	case !fromThisMachine(r):
		s.denyPage(w, r, errRemotePage)
		return
	case rebinding.Possible(r, false):
		s.denyPage(w, r, errPageName)
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		http.Error(w, "only GET is served: what changes something is at the admin address", http.StatusMethodNotAllowed)
		return
	case r.URL.Path == "/stats":
		http.Redirect(w, r, "/stats/", http.StatusSeeOther)
		return
	}
	s.o.Pages.ServeHTTP(w, r)
	control := http.NewResponseController(w)
	_ = control.Flush() // within the page's deadline, which is not that of the next request
	_ = control.SetReadDeadline(time.Time{})
	_ = control.SetWriteDeadline(time.Time{})
}

func (s *Server) denyPage(w http.ResponseWriter, r *http.Request, why error) {
	s.refused(r, "", undelivered(listener.ReasonDenied, why))
	http.Error(w, why.Error(), http.StatusForbidden)
}

// ownPage reports whether no browser has sent a request, or one that was told to by
// its user or by a page of this server.
func ownPage(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin":
		return r.Header.Get("Origin") == ""
	case "none":
		return rebinding.Typed(r)
	}
	return false
}

// fromThisMachine reports whether the client is here: on a unix socket, or loopback.
func fromThisMachine(r *http.Request) bool {
	client, err := netip.ParseAddrPort(r.RemoteAddr)
	return err != nil || client.Addr().Unmap().IsLoopback()
}

var (
	errRemotePage = errors.New("pages about the proxy are shown to this machine alone")
	errPageName   = errors.New("pages about the proxy are shown under localhost and loopback addresses alone: use http://localhost")
)
