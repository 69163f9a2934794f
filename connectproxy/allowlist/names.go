package allowlist

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxNames bounds the text of the names of one certificate, which is kept for as
// long as whoever presented it is connected.
const maxNames = 4096

// names are the identities in a certificate that patterns are compared with.
// Their text (TextOf) says all of them, so that a peer can be judged again by the
// text alone, long after the handshake. The zero value has none, and matches
// nothing.
type names struct {
	uris       []*url.URL
	dns        []string
	commonName string
	// others counts the URIs that no pattern can be of.
	others int
}

// The kinds of names in a text. What has none of them is a URI with a host.
const (
	dnsKind         = "dns:"
	commonNameKind  = "cn:"
	otherURIKind    = "uri:"
	certificateKind = "sha256:" // of a certificate without any of these names
)

// errTooManyNames is TextOf's error about a certificate whose text would be longer
// than 4096 bytes.
var errTooManyNames = errors.New("the certificate has more names than are kept of one")

// TextOf returns the names in a certificate as a text that AllowsText reads: URIs
// as they are, dns:NAME and cn:NAME, with a space between two of them. Of a
// certificate that has none it is sha256: and the certificate's sum. It is on one
// line, and never empty. What could be taken for something else in it is escaped.
// The error is that the text would be longer than 4096 bytes.
func TextOf(c *x509.Certificate) (string, error) {
	var parts []string
	for _, u := range c.URIs {
		text := escape(u.String())
		if back, err := url.Parse(text); err != nil || !hasHost(back) {
			text = otherURIKind + text
		}
		parts = append(parts, text)
	}
	for _, name := range c.DNSNames {
		parts = append(parts, dnsKind+escapeAll(name))
	}
	if c.Subject.CommonName != "" {
		parts = append(parts, commonNameKind+escapeAll(c.Subject.CommonName))
	}
	if len(parts) == 0 {
		sum := sha256.Sum256(c.Raw)
		return certificateKind + hex.EncodeToString(sum[:]), nil
	}
	text := strings.Join(parts, " ")
	if len(text) > maxNames {
		return "", errTooManyNames
	}
	return text, nil
}

// hasHost reports whether a URI is one that a pattern can be of, and no name of
// another kind.
func hasHost(u *url.URL) bool {
	switch u.Scheme + ":" {
	case ":", dnsKind, commonNameKind, otherURIKind, certificateKind:
		return false
	}
	return u.Host != "" && u.Opaque == ""
}

var errNoNames = errors.New("this is not the text of a certificate's names")

// parseNames reads what TextOf has written. Any other text is an error.
func parseNames(text string) (names, error) {
	var n names
	for part := range strings.SplitSeq(text, " ") {
		var err error
		if name, ok := strings.CutPrefix(part, dnsKind); ok {
			name, err = url.PathUnescape(name)
			n.dns = append(n.dns, name)
		} else if name, ok := strings.CutPrefix(part, commonNameKind); ok {
			n.commonName, err = url.PathUnescape(name)
		} else if strings.HasPrefix(part, otherURIKind) {
			n.others++
		} else if !strings.HasPrefix(part, certificateKind) {
			var u *url.URL
			if u, err = url.Parse(part); err == nil && !hasHost(u) {
				err = errNoNames
			}
			n.uris = append(n.uris, u)
		}
		if err != nil {
			return names{}, errNoNames
		}
	}
	return n, nil
}

// escape gives what no URI has, a space above all, the form that a URI has for it.
func escape(s string) string { return escaped(s, "") }

// escapeAll does the same with the sign that this form begins with, so that it
// can be undone.
func escapeAll(s string) string { return escaped(s, "%") }

func escaped(s, also string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		bad := r == utf8.RuneError && size == 1
		if bad || r == ' ' || !unicode.IsPrint(r) || strings.ContainsRune(also, r) {
			for i := range size {
				b.WriteByte('%')
				b.WriteByte(digits[s[i]>>4])
				b.WriteByte(digits[s[i]&15])
			}
		} else {
			b.WriteString(s[:size])
		}
		s = s[size:]
	}
	return b.String()
}
