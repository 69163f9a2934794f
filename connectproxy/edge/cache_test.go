package edge

import (
	"crypto/ecdsa"
	"path/filepath"
	"testing"

	"connect-proxy/config"
)

func TestNoHostHasTheFileOfTheAccount(t *testing.T) {
	t.Parallel()
	kept := newCache(filepath.Join(t.TempDir(), "acme"), "https://ca.test/dir")
	if err := kept.check(); err != nil {
		t.Fatal(err)
	}
	account, err := kept.account()
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"account.key", accountFile} {
		c := config.Config{Service: "web", Edge: &config.Edge{Hosts: []string{host}, Allow: []string{}, Cert: "tls.pem"}}
		if len(c.WithDefaults().Validate()) > 0 {
			continue // no host has this name
		}
		_, text, err := newKey()
		if err == nil {
			err = kept.put(host, text)
		}
		if err != nil {
			t.Fatal(err)
		}
		if again, err := kept.account(); err != nil || !account.Public().(*ecdsa.PublicKey).Equal(again.Public()) {
			t.Errorf("after a certificate for %s the account has another key: %v", host, err)
		}
	}
}
