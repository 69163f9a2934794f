package certfiles

import (
	"bytes"
	"crypto/x509"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"
)

func TestAPKCS12FileThatTakesForeverIsRefusedBeforeItDoes(t *testing.T) {
	ca := year(t, "ca", nil)
	id := year(t, "one", ca)
	// As encodings: 65,536, 8,388,607 and 2,000,000.
	few, many, most := []byte{2, 3, 1, 0, 0}, []byte{2, 3, 0x7f, 0xff, 0xff}, []byte{2, 3, 0x1e, 0x84, 0x80}
	for name, e := range map[string]*pkcs12.Encoder{"Modern": pkcs12.Modern, "LegacyDES": pkcs12.LegacyDES, "LegacyRC2": pkcs12.LegacyRC2} {
		der, err := e.WithIterations(65536).Encode(id.key, id.cert, []*x509.Certificate{ca.cert}, "secret word")
		if err != nil {
			t.Fatal(err)
		}
		if err := checkIterations("id.p12", der); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		parts := bytes.Count(der, few) // the MAC, the certificates, the key
		if parts != 3 {
			t.Fatalf("%s: %d numbers of iterations", name, parts)
		}
		for part, at := 0, 0; part < parts; part++ {
			at += bytes.Index(der[at:], few)
			changed := bytes.Clone(der)
			copy(changed[at:], many)
			if _, _, err := parsePKCS12("id.p12", changed, "secret word"); err == nil || !strings.Contains(err.Error(), "id.p12 asks for 8388607 iterations") {
				t.Errorf("%s, part %d: %v", name, part, err)
			}
			copy(changed[at:], most)
			if err := checkIterations("id.p12", changed); err != nil {
				t.Errorf("%s, part %d: %v", name, part, err)
			}
			at += len(few)
		}
	}
}

func TestANumberOfIterationsThatNobodyCanCountIsTooLarge(t *testing.T) {
	number := append([]byte{2, 9, 1}, make([]byte, 8)...)
	der := append([]byte{0x30, 14, 4, 1, 0}, number...)
	if n := mostIterations(der, false, maxDepth); n <= maxIterations {
		t.Errorf("%d iterations", n)
	}
}
