package adminapi

import (
	"embed"
	"net/http"

	"connect-proxy/connectproxy/admin"
)

//go:embed web
var web embed.FS

// policy lets the dashboard load its two files and ask its own server, and
// nothing else: text that was taken for HTML could load and run nothing.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// dashboard is the page for people.
func dashboard() admin.Pages {
	return admin.Pages{
		"GET /{$}":           file("web/index.html", "text/html"),
		"GET /dashboard.css": file("web/dashboard.css", "text/css"),
		"GET /dashboard.js":  file("web/dashboard.js", "text/javascript"),
	}
}

func file(name, kind string) http.Handler {
	text, err := web.ReadFile(name)
	if err != nil {
		panic(err) // it is part of this binary
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", kind+"; charset=utf-8")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "no-referrer")
		_, _ = w.Write(text) // the client may be gone
	})
}
