package adminapi_test

import (
	"testing"

	"connect-proxy/connectproxy/adminapi"
	"connect-proxy/listener"
)

func TestEveryReasonIsSaidInWords(t *testing.T) {
	known := map[string]bool{}
	for _, r := range listener.Reasons() {
		known[r.String()] = true
		if adminapi.Reasons[r.String()].Words == "" {
			t.Errorf("%s has no words", r)
		}
	}
	for name := range adminapi.Reasons {
		if !known[name] {
			t.Errorf("%s is no reason", name)
		}
	}
}
