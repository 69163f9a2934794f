package systemtest_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
)

func TestTLSIsWhatTheConfigurationSaysAndNoMore(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	a := agenttest.Modern(t, agenttest.Options{})
	stage := newStage(t)
	port := agenttest.FreePorts(t, 2)
	usual := sidecar{name: "usual", app: portOf(stage.Server), port: port}
	choosy := sidecar{name: "choosy", app: portOf(stage.Server), port: port + 1, config: map[string]any{
		"alpn": []string{"h2", "http/1.1"}, "tls_min_version": "TLSv1_3",
	}}
	usual.start(t, a)
	choosy.start(t, a)

	t.Run("protocols", func(t *testing.T) {
		for name, tc := range map[string]struct {
			port      int
			offered   []string
			selected  string
			httpMajor int
		}{
			"none by default":           {port, []string{"h2", "http/1.1"}, "", 1},
			"none offered":              {port, nil, "", 1},
			"opted in":                  {port + 1, []string{"h2", "http/1.1"}, "h2", 2},
			"opted in, HTTP/1 offered":  {port + 1, []string{"http/1.1"}, "http/1.1", 1},
			"opted in, nothing offered": {port + 1, nil, "", 1},
		} {
			t.Run(name, func(t *testing.T) {
				config := credentials(t, a, "web")
				config.NextProtos = tc.offered
				c, err := tls.Dial("tcp", at(tc.port), config)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if got := c.ConnectionState().NegotiatedProtocol; got != tc.selected {
					t.Errorf("%q was selected, want %q", got, tc.selected)
				}
				// An application that speaks both gets the one that was selected.
				transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: tc.httpMajor == 2, DisableKeepAlives: true}
				if tc.httpMajor == 1 {
					transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
				}
				browser := &http.Client{Transport: transport, Timeout: exchange}
				defer browser.CloseIdleConnections()
				resp, err := browser.Post("https://"+at(tc.port)+"/path", "", strings.NewReader("body"))
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				text, err := io.ReadAll(resp.Body)
				if err != nil || !strings.HasPrefix(string(text), "POST /path 4 ") || resp.ProtoMajor != tc.httpMajor {
					t.Errorf("%s over %s: %v", text, resp.Proto, err)
				}
			})
		}
	})

	t.Run("versions", func(t *testing.T) {
		for _, tc := range []struct {
			port    int
			version uint16
			served  bool
		}{
			{port, tls.VersionTLS10, false},
			{port, tls.VersionTLS11, false},
			{port, tls.VersionTLS12, true},
			{port, tls.VersionTLS13, true},
			{port + 1, tls.VersionTLS11, false},
			{port + 1, tls.VersionTLS12, false},
			{port + 1, tls.VersionTLS13, true},
		} {
			t.Run(fmt.Sprintf("%s on port %d", tls.VersionName(tc.version), tc.port-port), func(t *testing.T) {
				config := credentials(t, a, "web")
				config.MinVersion, config.MaxVersion = tc.version, tc.version
				before := stage.Accepted()
				c, err := tls.Dial("tcp", at(tc.port), config)
				if !tc.served {
					if err == nil || !strings.Contains(err.Error(), "protocol version") {
						t.Errorf("it was not refused for its version: %v", err)
					}
					if stage.Accepted() != before {
						t.Error("it reached the application")
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(exchange))
				if _, err := io.WriteString(c, "GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(c)
				if err != nil || !strings.Contains(string(text), "GET /x 0 ") || c.ConnectionState().Version != tc.version {
					t.Errorf("%q: %v", text, err)
				}
			})
		}
	})
}
