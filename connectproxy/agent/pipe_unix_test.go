//go:build unix

package agent

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/connectproxy/agenttest"
)

// A pipe is opened only when somebody writes, which no signal to this program can
// bring about.
func TestAPipeInPlaceOfAFileForTheAgentIsNotWaitedFor(t *testing.T) {
	ca := agenttest.NewAuthority(t, "ca")
	for name, settings := range map[string]func(p agenttest.TLSPaths, pipe string) Options{
		"a token": func(_ agenttest.TLSPaths, pipe string) Options { return Options{TokenFile: pipe} },
		"a CA":    func(_ agenttest.TLSPaths, pipe string) Options { return Options{TLS: api.TLSConfig{CAFile: pipe}} },
		"CAs": func(_ agenttest.TLSPaths, pipe string) Options {
			return Options{TLS: api.TLSConfig{CAPath: filepath.Dir(pipe)}}
		},
		"a certificate": func(p agenttest.TLSPaths, pipe string) Options {
			return Options{TLS: api.TLSConfig{CertFile: pipe, KeyFile: p.Key}}
		},
		"a key": func(p agenttest.TLSPaths, pipe string) Options {
			return Options{TLS: api.TLSConfig{CertFile: p.Cert, KeyFile: pipe}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			pipe := filepath.Join(t.TempDir(), "pipe")
			if err := syscall.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			release := time.AfterFunc(10*time.Second, func() { // lets go whoever waits for a writer
				t.Error("the pipe is waited for")
				if w, err := os.OpenFile(pipe, os.O_RDWR, 0); err == nil {
					w.Close()
				}
			})
			defer release.Stop()
			s := settings(agenttest.NewTLSPaths(t, ca, ca, "one"), pipe)
			s.Address = "https://127.0.0.1:1"
			_, err := NewClient(s, hclog.NewNullLogger())
			if err == nil || !strings.Contains(err.Error(), pipe) || !strings.Contains(err.Error(), "not a regular file") {
				t.Errorf("%v", err)
			}
		})
	}
}
