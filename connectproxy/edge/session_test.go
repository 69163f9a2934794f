package edge

import (
	"crypto/tls"
	"io"
	"path/filepath"
	"testing"

	"connect-proxy/listener/listenertest"
)

// oneSession remembers the last session, whatever it was for.
type oneSession struct{ tls.ClientSessionCache }

func (s oneSession) Get(string) (*tls.ClientSessionState, bool) { return s.ClientSessionCache.Get("") }
func (s oneSession) Put(_ string, session *tls.ClientSessionState) {
	s.ClientSessionCache.Put("", session)
}

func TestASessionIsResumedForItsOwnHostAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certificate(t, dir, "edge.test", "www.edge.test")
	f := open(t, func(_ int, o Options) *Terminator {
		o.Hosts, o.Cert = []string{"edge.test", "www.edge.test"}, filepath.Join(dir, "tls.pem")
		return New(o)
	})
	listenertest.Eventually(t, "the certificate is in use", func() bool { _, err := f.visit("edge.test", nil); return err == nil })
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		kept := oneSession{tls.NewLRUClientSessionCache(1)}
		for _, to := range []struct {
			name            string
			served, resumed bool
		}{{"edge.test", true, false}, {"edge.test", true, true}, {"EDGE.test", true, true}, {"other.test", false, false}, {"", false, false}, {"www.edge.test", true, false}, {"www.edge.test", true, true}} {
			c, err := tls.Dial("tcp", f.Addr().String(), &tls.Config{
				ServerName: to.name, InsecureSkipVerify: true, ClientSessionCache: kept, MinVersion: version, MaxVersion: version,
			})
			if (err == nil) != to.served {
				t.Errorf("%q: %v", to.name, err)
			}
			if err != nil {
				continue
			}
			if got := c.ConnectionState().DidResume; got != to.resumed {
				t.Errorf("%q in %s: resumed %t", to.name, tls.VersionName(version), got)
			}
			if _, err := io.ReadAll(c); err != nil { // also what has the ticket
				t.Errorf("%q: %v", to.name, err)
			}
			_ = c.Close()
		}
	}
	listenertest.Eventually(t, "the log says what was asked for", func() bool { return f.log.has(`client asks for \"other.test\", which is none of the hosts`) })
}
