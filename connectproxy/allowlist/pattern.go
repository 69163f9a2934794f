package allowlist

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	wildcard = "*"
	// maxPattern is of one, and SPIFFE's for an ID.
	maxPattern = 2048
	// maxName is of a DNS name, maxLabel of its parts.
	maxName, maxLabel = 253, 63
)

func parse(text string) (pattern, error) {
	switch {
	case text == "":
		return nil, errors.New("it is empty")
	case len(text) > maxPattern:
		return nil, fmt.Errorf("it is longer than %d bytes", maxPattern)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return nil, errors.New("it has bytes that no identity has")
	case text == wildcard:
		return anyone{}, nil
	}
	kind, rest, found := strings.Cut(text, ":")
	switch kind = strings.ToLower(kind); {
	case found && kind == "dns":
		return parseDNS(rest)
	case found && kind == "cn":
		return parseCommonName(rest)
	case strings.Contains(text, "://"):
		return parseURI(text)
	}
	return nil, errors.New("give spiffe://..., another URI, dns:NAME, cn:NAME, or * for every certificate")
}

// uriPattern is of a URI, with * for whole segments of the path.
type uriPattern struct {
	text         string
	scheme, host string
	segments     []string
}

func parseURI(text string) (pattern, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("it is no URI")
	}
	p := uriPattern{text: text, scheme: u.Scheme, host: strings.ToLower(u.Host)}
	spiffe := p.scheme == "spiffe"
	switch {
	case u.Host != "" && !hasHost(u):
		return nil, fmt.Errorf("a URI of scheme %q is no certificate's", u.Scheme)
	case u.Host == "":
		return nil, errors.New("the host is missing, or the trust domain: a * stands for a segment of the path alone")
	case strings.Contains(u.Host, wildcard):
		return nil, errors.New("* stands for a segment of the path alone, not in the host or the trust domain")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(text, "#"):
		return nil, errors.New("an identity has no user, query or fragment")
	case !strings.HasSuffix(text, u.EscapedPath()):
		return nil, errors.New("its path has bytes that a URI has in their %-form alone, as %20 for a space")
	case spiffe && u.Port() != "" || spiffe && strings.HasSuffix(u.Host, ":"):
		return nil, errors.New("a trust domain has no port")
	case spiffe && !isTrustDomain(p.host):
		return nil, errors.New("a trust domain has letters, digits, dots, dashes and underscores")
	}
	if u.EscapedPath() == "" {
		return p, nil
	}
	p.segments = strings.Split(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	for _, s := range p.segments {
		if err := segmentProblem(s, spiffe); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func isTrustDomain(host string) bool {
	return !strings.ContainsFunc(host, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
	})
}

// segmentProblem returns why no identity has such a segment; nil if one may.
func segmentProblem(s string, spiffe bool) error {
	switch {
	case s == wildcard:
		return nil
	case strings.Contains(s, wildcard):
		return fmt.Errorf("* stands for a whole segment, not for a part of one as in %q", s)
	case !spiffe:
		return nil
	case s == "":
		return errors.New("a SPIFFE ID has no empty segment and no slash at its end")
	case s == "." || s == "..":
		return fmt.Errorf("a SPIFFE ID has no segment %q", s)
	case strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
	}):
		return fmt.Errorf("a segment of a SPIFFE ID has letters, digits, dots, dashes and underscores: %q", s)
	}
	return nil
}

func (p uriPattern) String() string { return p.text }

func (p uriPattern) matches(n names) bool {
	if p.scheme == "spiffe" && len(n.uris)+n.others != 1 {
		return false
	}
	for _, u := range n.uris {
		if p.fits(u) {
			return true
		}
	}
	return false
}

func (p uriPattern) fits(u *url.URL) bool {
	if u == nil || !strings.EqualFold(u.Scheme, p.scheme) || !strings.EqualFold(u.Host, p.host) ||
		u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "" {
		return false
	}
	path := u.EscapedPath()
	if path == "" || len(p.segments) == 0 {
		return path == "" && len(p.segments) == 0
	}
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if len(segments) != len(p.segments) {
		return false
	}
	for i, s := range segments {
		if p.segments[i] == wildcard && isSegment(s, p.scheme == "spiffe") {
			continue
		}
		if s != p.segments[i] {
			return false
		}
	}
	return true
}

// isSegment reports whether * may stand for s: a segment that is another one, or
// two, to whoever decodes it is none, and SPIFFE IDs have no %-forms at all.
func isSegment(s string, spiffe bool) bool {
	plain, err := url.PathUnescape(s)
	return err == nil && plain != "" && plain != "." && plain != ".." && !strings.ContainsAny(plain, `/\*`) &&
		segmentProblem(s, spiffe) == nil
}

// dnsPattern is of a DNS name, in small letters; its first label may be *.
type dnsPattern string

func parseDNS(name string) (pattern, error) {
	name = strings.ToLower(name)
	if err := nameProblem(strings.TrimPrefix(name, "*.")); err != nil {
		return nil, err
	}
	if len(name) > maxName {
		return nil, fmt.Errorf("a DNS name has at most %d bytes", maxName)
	}
	return dnsPattern(name), nil
}

// nameProblem returns why no certificate has such a DNS name; nil if one may.
func nameProblem(name string) error {
	if strings.Contains(name, wildcard) {
		return errors.New("* stands for the whole first label alone, as in dns:*.example.org")
	}
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "":
			return errors.New("a label is empty: write it without a dot at its end")
		case len(label) > maxLabel:
			return fmt.Errorf("a label has at most %d bytes", maxLabel)
		case strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}):
			return fmt.Errorf("%q is no label of a DNS name: letters, digits, dashes and underscores, others in their xn-- form", label)
		}
	}
	return nil
}

func (p dnsPattern) String() string { return "dns:" + string(p) }

func (p dnsPattern) matches(n names) bool {
	parent, any := strings.CutPrefix(string(p), "*.")
	for _, name := range n.dns {
		name = strings.ToLower(name)
		if strings.Contains(name, wildcard) {
			continue
		}
		if name == string(p) {
			return true
		}
		if label, rest, found := strings.Cut(name, "."); any && found && label != "" && rest == parent {
			return true
		}
	}
	return false
}

// commonName is that of a subject.
type commonName string

func parseCommonName(name string) (pattern, error) {
	switch {
	case name == "":
		return nil, errors.New("the common name is missing")
	case strings.Contains(name, wildcard):
		return nil, errors.New("* means nothing in a common name: give it whole")
	}
	return commonName(name), nil
}

func (p commonName) String() string { return "cn:" + string(p) }

func (p commonName) matches(n names) bool { return n.commonName == string(p) }

// anyone is whoever has a certificate.
type anyone struct{}

func (anyone) String() string { return wildcard }

func (anyone) matches(names) bool { return true }
