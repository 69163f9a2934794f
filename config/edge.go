package config

import (
	"fmt"
	"strings"
)

// Edge is a listener for strangers: clients outside the mesh, who have no
// certificate and call by HTTPS what their requests' paths name.
type Edge struct {
	// Bind is TCP. An empty host means 0.0.0.0, and no port DefaultEdgePort.
	Bind Address
	// Hosts are the names under which it is reached, by TLS and HTTP alike.
	Hosts []string
	// Allow has the names of services that strangers may call; DestinationList
	// says how they are written. Empty allows none;
	// nil is a mistake.
	Allow []string
	// Cert and Key are PEM files of a certificate for Hosts. Cert may hold both.
	Cert, Key string
	// ACME says how certificates are got where no files are given.
	ACME ACME
	// Namespace is as Micro's.
	Namespace string
	// Handler is as Micro's.
	Handler MicroHandler
	// RemoveHeaders has names of headers that no client has a say in, and that are taken
	// from requests besides those that always are; HeaderList says how they are written.
	RemoveHeaders []string
	// KeepHeaders has names of headers that are passed on from clients although they
	// would be removed, written in the same way. RemoveHeaders comes first.
	KeepHeaders []string
	// MaxConnections is the most clients at a time; zero means
	// DefaultEdgeMaxConnections.
	MaxConnections int
}

// ACME is how certificates are got from a CA (RFC 8555). To use it is to accept
// the CA's terms of service.
type ACME struct {
	// CacheDir is a directory for account, certificates and keys, which nobody
	// else may read. Empty means that there is no ACME.
	CacheDir string
	// Email is where the CA may write to; empty means nowhere.
	Email string
	// DirectoryURL is the CA's; empty means DefaultACMEDirectory.
	DirectoryURL string
	// CA is a PEM file of the CAs to trust in the directory's own certificate;
	// empty means those of the system.
	CA string
}

const (
	// DefaultACMEDirectory is Let's Encrypt's.
	DefaultACMEDirectory = "https://acme-v02.api.letsencrypt.org/directory"
	// DefaultEdgePort is that of HTTPS.
	DefaultEdgePort = 443
	// DefaultEdgeMaxConnections bounds strangers where nothing else does.
	DefaultEdgeMaxConnections = 10_000
)

// edgeKeys stand in the block edge.
var edgeKeys = keys[Edge]{
	"bind_address":       into(func(e *Edge) *string { return &e.Bind.Host }, value.host),
	"bind_port":          into(func(e *Edge) *int { return &e.Bind.Port }, value.count),
	"hosts":              into(func(e *Edge) *[]string { return &e.Hosts }, value.texts),
	"allow":              into(func(e *Edge) *[]string { return &e.Allow }, value.texts),
	"cert_file":          into(func(e *Edge) *string { return &e.Cert }, value.text),
	"key_file":           into(func(e *Edge) *string { return &e.Key }, value.text),
	"acme_cache_dir":     into(func(e *Edge) *string { return &e.ACME.CacheDir }, value.text),
	"acme_email":         into(func(e *Edge) *string { return &e.ACME.Email }, value.text),
	"acme_directory_url": into(func(e *Edge) *string { return &e.ACME.DirectoryURL }, value.text),
	"acme_ca_file":       into(func(e *Edge) *string { return &e.ACME.CA }, value.text),
	"namespace":          into(func(e *Edge) *string { return &e.Namespace }, value.text),
	"handler":            into(func(e *Edge) *MicroHandler { return &e.Handler }, named[MicroHandler]),
	"remove_headers":     into(func(e *Edge) *[]string { return &e.RemoveHeaders }, value.texts),
	"keep_headers":       into(func(e *Edge) *[]string { return &e.KeepHeaders }, value.texts),
	"max_connections":    counted(func(e *Edge) *int { return &e.MaxConnections }),
}

func (c *Config) edge() *Edge {
	if c.Edge == nil {
		c.Edge = &Edge{}
	}
	return c.Edge
}

func (e Edge) withDefaults() Edge {
	if e.Bind.Host == "" {
		e.Bind.Host = "0.0.0.0"
	}
	if e.Bind.Port == 0 {
		e.Bind.Port = DefaultEdgePort
	}
	if e.ACME.CacheDir != "" && e.ACME.DirectoryURL == "" {
		e.ACME.DirectoryURL = DefaultACMEDirectory
	}
	if e.Namespace == "" {
		e.Namespace = DefaultMicroNamespace
	}
	if e.Handler == "" {
		e.Handler = MicroRPC
	}
	if e.MaxConnections == 0 {
		e.MaxConnections = DefaultEdgeMaxConnections
	}
	return e
}

func (c *Config) edgeDefaults() {
	if c.Edge != nil {
		e := c.Edge.withDefaults()
		c.Edge = &e
	}
}

func (v *checks) edge(e Edge) {
	const field = "edge."
	if e.Bind.Port == 0 {
		e.Bind.Port = DefaultEdgePort
	}
	v.bind(field+"bind_", e.Bind)
	v.requireList(field+"allow", e.Allow)
	v.destinations(field+"allow", e.Allow)
	if len(e.Hosts) == 0 {
		v.missing(field+"hosts", `name what clients call this server by, such as ["api.example.com"]`)
	}
	for _, h := range e.Hosts {
		if !publicHost(h) {
			v.addMistake(field+"hosts", quoted(h), "not a full name, such as api.example.com: no address, no pattern, no port")
		}
	}
	v.edgeCertificates(field, e)
	v.microPaths(field, e.Namespace, e.Handler)
	if _, err := NewHeaderList(e.RemoveHeaders); err != nil {
		v.addMistake(field+"remove_headers", "", err.Error())
	}
	v.keepHeaders(field+"keep_headers", e.KeepHeaders)
	v.count(field+"max_connections", e.MaxConnections)
}

// Cautions name settings, a sentence each, that are in force as they are written and
// give away what few mean to.
func (c Config) Cautions() (all []string) {
	if c.Edge == nil {
		return nil
	}
	for _, pattern := range c.Edge.Allow {
		name, datacenter, elsewhere := strings.Cut(pattern, "@")
		name, query := strings.CutSuffix(name, ".query")
		what := "every service of the mesh that this one may call, prepared queries and other datacenters among them"
		switch {
		case strings.Trim(name, "*") != "":
			continue
		case query:
			what = "every prepared query, and what it leads to"
		case elsewhere:
			what = fmt.Sprintf("every service of the datacenter %q that this one may call", datacenter)
		}
		all = append(all, fmt.Sprintf("edge.allow = %q: strangers may call %s: list the names", pattern, what))
	}
	return all
}

// edgeCertificates checks where certificates come from.
func (v *checks) edgeCertificates(field string, e Edge) {
	a := e.ACME
	switch {
	case e.Cert != "" && a.CacheDir != "":
		v.addMistake(field+"acme_cache_dir", quoted(a.CacheDir), "given together with cert_file: keep one of the two")
	case e.Cert == "" && a.CacheDir == "":
		v.missing(field+"cert_file", "give a certificate and key_file, or acme_cache_dir to have certificates from an ACME server")
	case e.Cert == "" && e.Key != "":
		v.missing(field+"cert_file", "key_file has no certificate")
	}
	if a.CacheDir == "" && (a.Email != "" || a.DirectoryURL != "" || a.CA != "") {
		v.missing(field+"acme_cache_dir", "say where account, certificates and keys are kept")
	}
	if a.DirectoryURL != "" && !strings.HasPrefix(a.DirectoryURL, "https://") {
		v.addMistake(field+"acme_directory_url", quoted(a.DirectoryURL), "not an https:// URL")
	}
}

// publicHost reports whether s is a name that a public CA could certify.
func publicHost(s string) bool {
	return validHost(s) && !literal(s).IsValid() && strings.Contains(strings.Trim(s, "."), ".") &&
		!strings.HasPrefix(s, ".") && !strings.HasSuffix(s, ".") && !strings.Contains(s, "..") && !strings.Contains(s, "_")
}

// edgeSays are headers that the edge itself tells services, one for each kind.
var edgeSays = []string{"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "timeout", "micro-service", "micro-from-service", "micro-timeout", "micro-id", "micro-method", "micro-endpoint", "micro-topic", "micro-stream"}

func (v *checks) keepHeaders(field string, names []string) {
	kept, err := NewHeaderList(names)
	if err != nil {
		v.addMistake(field, "", err.Error())
	}
	for _, own := range edgeSays {
		if kept.Has(own) {
			v.addMistake(field, "", fmt.Sprintf("%s is said by the edge itself: name the headers that clients have to send", own))
		}
	}
}
