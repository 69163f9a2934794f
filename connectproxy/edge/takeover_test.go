package edge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connect-proxy/config"
	"connect-proxy/listener/listenertest"
)

func TestCertificatesStayInUseWhenSettingsChange(t *testing.T) {
	t.Parallel()
	acme := silentCA(t, "old.test", "gone.test")
	elsewhere, moved, respelled := acme, acme, acme
	elsewhere.DirectoryURL += "2"
	moved.CacheDir += "2"
	respelled.CacheDir += "/./"
	before := New(Options{Hosts: []string{"old.test", "gone.test"}, ACME: acme})
	listenertest.Run(t, before.Run)
	listenertest.Eventually(t, "there are certificates", func() bool { return has(before, "old.test") && has(before, "gone.test") })
	if err := os.RemoveAll(acme.CacheDir); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		acme  config.ACME
		stays bool
	}{"the same CA": {acme, true}, "another CA": {elsewhere, false}, "another directory": {moved, false}, "the same directory in other words": {respelled, true}} {
		after := New(Options{Hosts: []string{"new.test", "OLD.test"}, ACME: c.acme})
		after.TakeOver(before)
		if has(after, "old.test") != c.stays || has(after, "new.test") || has(after, "gone.test") {
			t.Errorf("%s: old.test %t, new.test %t, gone.test %t", name, has(after, "old.test"), has(after, "new.test"), has(after, "gone.test"))
		}
		if problems := after.Problems(); len(problems) == 1 != c.stays {
			t.Errorf("%s: %q", name, problems)
		}
	}
}

func TestACacheThatIsOpenedToOthersIsToldOfWhileItsCertificatesAreUsed(t *testing.T) {
	t.Parallel()
	acme := silentCA(t, "old.test")
	before := New(Options{Hosts: []string{"old.test"}, ACME: acme})
	listenertest.Run(t, before.Run)
	listenertest.Eventually(t, "there is a certificate", func() bool { return has(before, "old.test") })
	if problems := before.Problems(); len(problems) != 0 {
		t.Errorf("%q", problems)
	}
	if err := os.Chmod(acme.CacheDir, 0o755); err != nil {
		t.Fatal(err)
	}
	after := New(Options{Hosts: []string{"old.test"}, ACME: acme})
	after.TakeOver(before)
	listenertest.Run(t, after.Run)
	listenertest.Eventually(t, "it is told of", func() bool {
		problems := after.Problems()
		return len(problems) == 1 && strings.Contains(problems[0], "is open to others")
	})
	if !has(after, "old.test") {
		t.Error("the certificate is gone")
	}
}

func TestACertificateFromFilesStaysInUseWhenSettingsChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "tls.pem")
	certificate(t, dir, "old.test", "new.test")
	before := New(Options{Hosts: []string{"old.test"}, Cert: file})
	listenertest.Run(t, before.Run)
	listenertest.Eventually(t, "there is a certificate", func() bool { return has(before, "old.test") })
	after := New(Options{Hosts: []string{"old.test", "new.test"}, Cert: file})
	after.TakeOver(before)
	other := New(Options{Hosts: []string{"old.test"}, Cert: file + "2"})
	other.TakeOver(before)
	if !has(after, "new.test") || has(other, "old.test") {
		t.Errorf("the same file: %t, another: %t", has(after, "new.test"), has(other, "old.test"))
	}
	second := certificate(t, dir, "new.test")
	f := open(t, func(_ int, o Options) *Terminator {
		o.Hosts, o.Cert = []string{"new.test"}, file
		e := New(o)
		e.TakeOver(before)
		return e
	})
	listenertest.Eventually(t, "the file is read again", func() bool { _, err := f.visit("new.test", second); return err == nil })
}
