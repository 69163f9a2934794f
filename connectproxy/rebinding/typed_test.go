package rebinding

import (
	"net/http"
	"testing"
)

func TestWhatABrowserLooksUpForItselfWasNotAskedForByItsUser(t *testing.T) {
	typed := http.Header{"Sec-Fetch-Site": {"none"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}}
	if !Typed(&http.Request{Header: typed}) {
		t.Error("a user may not ask")
	}
	for name, value := range map[string]string{
		"Sec-Purpose": "prefetch;prerender", "Purpose": "prefetch", "X-Moz": "prefetch", "X-Purpose": "preview",
		"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "empty", "Sec-Fetch-Site": "cross-site", "Origin": "null",
	} {
		h := typed.Clone()
		h.Set(name, value)
		if Typed(&http.Request{Header: h}) {
			t.Errorf("%s: %s is taken for what the user has typed", name, value)
		}
	}
	// As Chromium asks for the issuer of a certificate, where that says (caIssuers).
	if Typed(&http.Request{Header: http.Header{"Sec-Fetch-Site": {"none"}, "Sec-Fetch-Mode": {"no-cors"}, "Sec-Fetch-Dest": {"empty"}}}) {
		t.Error("a lookup is taken for what the user has typed")
	}
}
