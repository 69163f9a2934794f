package micro

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// method is a method of a service, as Micro names it: "Greeter.Hello".
type method struct{ service, name string }

// version is a first segment that says a version of the API.
var version = regexp.MustCompile(`^v[0-9]+$`)

// methodOf returns what a path means by the rules of Micro's sidecar:
//
//	/foo/bar          foo        Foo.Bar
//	/foo/bar/baz      foo        Bar.Baz
//	/foo/bar/baz/cat  foo.bar    Baz.Cat
//	/v1/foo/bar       v1.foo     Foo.Bar
//
// The namespace and a dot come before the service. A dash ends a word of a name.
func methodOf(path, namespace string) (method, error) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for _, p := range parts {
		if p == "" {
			return method{}, errPath
		}
	}
	prefix := ""
	if len(parts) > 2 && version.MatchString(parts[0]) {
		prefix, parts = parts[0]+".", parts[1:]
	}
	var m method
	switch n := len(parts); {
	case n < 2:
		return method{}, errPath
	case n == 2:
		m = method{parts[0], words(parts[0]) + "." + words(parts[1])}
	default:
		m = method{strings.Join(parts[:n-2], "."), words(parts[n-2]) + "." + words(parts[n-1])}
	}
	m.service = inNamespace(prefix+m.service, namespace)
	return m, nil
}

// inNamespace is the whole name of a service; "-" is no namespace.
func inNamespace(service, namespace string) string {
	if namespace == "" || namespace == "-" {
		return service
	}
	return namespace + "." + service
}

// withNamespace says of a failure that a path may have meant the service without
// the namespace, where that may be called and the one that was named cannot.
func (s *Server) withNamespace(f *failure, service, namespace string) *failure {
	short := strings.TrimPrefix(service, namespace+".")
	if short == service || f.code != http.StatusForbidden && f.code != http.StatusNotFound {
		return f
	}
	if _, failed := s.named(short); failed != nil {
		return f
	}
	return &failure{f.code, f.reason, fmt.Errorf(`%w; paths begin with the namespace %q: for %s set namespace = "-"`, f.err, namespace, short)}
}

// words has each word of a name that dashes separate begin with a capital.
func words(s string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(s, "-") {
		if word != "" {
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String()
}

var errPath = errors.New("the path names no service and method: /greeter/hello is the method Greeter.Hello of the service greeter")
