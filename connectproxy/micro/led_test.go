package micro

import (
	"net/http"
	"strings"
	"testing"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest/chromium"
)

func TestAPageWhoseNameIsLedHereLaterCallsAndReadsNothing(t *testing.T) {
	page := chromium.Start(t, chromium.MovedFlag)
	const secret = "who calls whom"
	for _, remote := range []bool{false, true} {
		m := &mesh{services: map[string]string{"web": newService(t, "web").Addr()}}
		p := start(t, m, func(s *Server) {
			s.o.Pages = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(secret)) })
			if err := s.Update(config.Micro{Allow: []string{"*"}, Register: []string{"*"}, Topics: []string{"*"}, Namespace: "-", Handler: config.MicroProxy, RemoteClients: remote, HostNames: []string{"proxy.example"}}); err != nil {
				t.Fatal(err)
			}
		})
		for _, answer := range page.Moved(p.address(), "/", "/web/x", "/rpc", "/registry", "/broker?topic=a", "/stats/", "/health") {
			// That a message has failed is said in its header.
			if !strings.HasPrefix(answer, "403 ") && answer != "200 " || strings.Contains(answer, secret) {
				t.Errorf("other machines %t: %q", remote, answer)
			}
		}
		if m.dials() != 0 {
			t.Errorf("other machines %t: a service was dialled for a page", remote)
		}
	}
}
