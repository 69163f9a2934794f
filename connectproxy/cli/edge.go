package cli

import (
	"flag"
	"strings"

	"connect-proxy/config"
)

// defineEdge adds the flags of the listener for strangers.
func (o *options) defineEdge(fs *flag.FlagSet) {
	fs.StringVar(&o.edgeAddr, "edge-addr", "",
		"Ingress: accept HTTPS from clients outside the mesh on this `address`, as :443, and call the services that their requests' paths name. "+
			"Goes with -service, -edge-hosts, -edge-allow, and -edge-cert-file or -edge-acme-cache.")
	fs.Var(&o.edgeHosts, "edge-hosts",
		"Host `names`, separated by commas, under which clients reach -edge-addr, as api.example.com; repeatable.")
	fs.Var(&o.edgeAllow, "edge-allow",
		"`Names`, separated by commas, of services that clients may call at -edge-addr, as for -by-name-allow; repeatable.")
	fs.Var(&o.edgeRemoveHeaders, "edge-remove-headers",
		"`Names`, separated by commas, of further headers to remove from the requests of clients at -edge-addr, "+
			"as X-Acme-* for all that begin so; repeatable.")
	fs.StringVar(&o.edgeCert, "edge-cert-file", "",
		"PEM `file` with the certificate for -edge-hosts, which is read again when it changes.")
	fs.StringVar(&o.edgeKey, "edge-key-file", "",
		"PEM `file` with its key, unless -edge-cert-file has it.")
	fs.StringVar(&o.edgeACMECache, "edge-acme-cache", "",
		"Get certificates for -edge-hosts from an ACME server, and keep them in this `directory`, with their keys. "+
			"To use it is to accept the server's terms of service.")
	fs.StringVar(&o.edgeACMEEmail, "edge-acme-email", "",
		"Mail `address` that the ACME server may write to.")
	fs.StringVar(&o.edgeACMEDirectory, "edge-acme-directory", config.DefaultACMEDirectory,
		"`URL` of the ACME server's directory.")
}

// edgeGiven reports whether anything is said of a listener for strangers besides its
// address.
func (o *options) edgeGiven() bool {
	return len(o.edgeHosts) > 0 || len(o.edgeAllow) > 0 || len(o.edgeRemoveHeaders) > 0 || o.edgeCert != "" || o.edgeKey != "" ||
		o.edgeACMECache != "" || o.edgeACMEEmail != "" || o.edgeACMEDirectory != config.DefaultACMEDirectory
}

// edge adds the listener for strangers to cfg, if there is to be one, and returns
// what is wrong with it.
func (o *options) edge(cfg *config.Config) []string {
	switch {
	case o.edgeAddr == "" && o.edgeGiven():
		return []string{"-edge-hosts, -edge-allow, -edge-remove-headers, -edge-cert-file or -edge-acme-cache without -edge-addr: say where strangers connect, such as :443"}
	case o.edgeAddr == "":
		return nil
	}
	cfg.Edge = &config.Edge{
		Hosts: o.edgeHosts.split(), Allow: o.edgeAllow.split(), RemoveHeaders: o.edgeRemoveHeaders.split(),
		Cert: o.edgeCert, Key: o.edgeKey,
	}
	if o.edgeACMECache != "" {
		cfg.Edge.ACME = config.ACME{CacheDir: o.edgeACMECache, Email: o.edgeACMEEmail, DirectoryURL: o.edgeACMEDirectory}
	}
	return parseInto(&cfg.Edge.Bind, "-edge-addr", o.edgeAddr)
}

// edgeFlags has mistakes in the listener for strangers name flags.
var edgeFlags = strings.NewReplacer(
	"edge.bind_address", "-edge-addr",
	"edge.bind_port", "-edge-addr",
	"edge.hosts", "-edge-hosts",
	"edge.allow", "-edge-allow",
	"edge.remove_headers", "-edge-remove-headers",
	"edge.cert_file", "-edge-cert-file",
	"edge.key_file", "-edge-key-file",
	"edge.acme_cache_dir", "-edge-acme-cache",
	"edge.acme_directory_url", "-edge-acme-directory",
)
