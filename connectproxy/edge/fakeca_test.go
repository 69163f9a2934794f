package edge

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/listener/listenertest"
)

// fakeCA is an ACME server that asks for no challenge, and lies where it is told to.
type fakeCA struct {
	*httptest.Server
	t    *testing.T
	dir  string
	key  *ecdsa.PrivateKey
	last []byte // the request for a certificate
	// lie answers in place of the server, and reports whether it has.
	lie func(w http.ResponseWriter, r *http.Request) bool
	// change changes a certificate before it is signed, chain what is handed out.
	change func(c *x509.Certificate)
	chain  func(pem []byte) []byte
	asked  atomic.Int64
}

func newFakeCA(t *testing.T) *fakeCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &fakeCA{t: t, dir: t.TempDir(), key: key}
	ca.Server = httptest.NewTLSServer(http.HandlerFunc(ca.serve))
	t.Cleanup(func() {
		ca.CloseClientConnections()
		ca.Close()
	})
	own := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(ca.dir, "ca.pem"), own, 0o600); err != nil {
		t.Fatal(err)
	}
	return ca
}

// acme is how the server is asked, with a cache of its own.
func (ca *fakeCA) acme() config.ACME {
	return config.ACME{CacheDir: filepath.Join(ca.dir, "cache"), DirectoryURL: ca.URL + "/dir", CA: filepath.Join(ca.dir, "ca.pem")}
}

func (ca *fakeCA) serve(w http.ResponseWriter, r *http.Request) {
	ca.asked.Add(1)
	w.Header().Set("Replay-Nonce", fmt.Sprintf("n%d", ca.asked.Load()))
	w.Header().Set("Content-Type", "application/json")
	if ca.lie != nil && ca.lie(w, r) {
		return
	}
	say := func(status int, location string, what any) {
		if location != "" {
			w.Header().Set("Location", ca.URL+location)
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(what)
	}
	order := map[string]any{
		"status": "ready", "identifiers": []map[string]string{{"type": "dns", "value": "edge.test"}},
		"authorizations": []string{ca.URL + "/authz"}, "finalize": ca.URL + "/finalize", "certificate": ca.URL + "/cert",
	}
	switch r.URL.Path {
	case "/dir":
		say(200, "", map[string]string{"newNonce": ca.URL + "/nonce", "newAccount": ca.URL + "/account", "newOrder": ca.URL + "/new"})
	case "/nonce":
		w.WriteHeader(http.StatusOK)
	case "/account":
		say(201, "/account/1", map[string]string{"status": "valid"})
	case "/new":
		say(201, "/order", order)
	case "/authz":
		say(200, "", map[string]any{"status": "valid", "identifier": map[string]string{"type": "dns", "value": "edge.test"}})
	case "/finalize":
		var jws struct{ Payload string }
		var payload struct{ CSR string }
		_ = json.NewDecoder(r.Body).Decode(&jws)
		b, _ := base64.RawURLEncoding.DecodeString(jws.Payload)
		_ = json.Unmarshal(b, &payload)
		ca.last, _ = base64.RawURLEncoding.DecodeString(payload.CSR)
		order["status"] = "valid"
		say(200, "/order", order)
	case "/cert":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, _ = w.Write(ca.certificate())
	default:
		http.NotFound(w, r)
	}
}

// certificate is what was asked for last.
func (ca *fakeCA) certificate() []byte {
	request, err := x509.ParseCertificateRequest(ca.last)
	if err != nil {
		return nil
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(ca.asked.Load()), Subject: pkix.Name{CommonName: "edge"}, DNSNames: request.DNSNames,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), PublicKey: request.PublicKey,
	}
	if ca.change != nil {
		ca.change(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, &x509.Certificate{Subject: pkix.Name{CommonName: "liar"}}, c.PublicKey, ca.key)
	if err != nil {
		ca.t.Error(err)
	}
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if ca.chain != nil {
		b = ca.chain(b)
	}
	return b
}

// ordering runs orders of the server's certificates for edge.test until the test ends.
func (ca *fakeCA) ordering(hosts ...string) (*Terminator, *output) {
	ca.t.Helper()
	log := new(output)
	e := New(Options{Hosts: append([]string{"edge.test"}, hosts...), ACME: ca.acme(), Logger: hclog.New(&hclog.LoggerOptions{Output: log})})
	e.certificates.(*orders).shortestRetry = 100 * time.Millisecond
	listenertest.Run(ca.t, e.Run)
	ca.t.Cleanup(func() {
		if ca.t.Failed() {
			ca.t.Logf("the edge said:\n%.3000s", log)
		}
	})
	return e, log
}
