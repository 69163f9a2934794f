package micro

import (
	"net/http"
	"strings"

	"connect-proxy/config"
)

// spoofable are headers by which services learn who calls, how, and for which path: from
// a sidecar, or from a proxy, gateway or CDN that other deployments have in front of
// them. A stranger has no say in them. They are written as in config.HeaderList; what
// spoofableWords find does not stand here.
var spoofable = []string{
	// Sidecars and meshes.
	"Micro-*", "X-Micro-*", "Grpc-*", "X-Consul-*", "X-Envoy-*", "X-Istio-*", "L5d-*", "Dapr-*", "X-Internal-*",
	// Whom a gateway has authenticated.
	"X-Auth-Request-*", "X-Auth-Email", "X-Webauth-*", "X-Authentik-*", "X-Authelia-*", "X-Vouch-*", "X-Pomerium-*", "X-Token-*",
	"X-Consumer-*", "X-Credential-*", "X-Anonymous-*", "X-Jwt-*", "X-Endpoint-*", "X-Apigateway-*",
	"X-Email", "X-Id-Token", "X-Auth-Subject", "X-Auth-Audience", "X-Auth-Scope", "Auth-Mail", "Auth-Cn", "Cas-*", "Mellon-*",
	"Affiliation", "Unscoped-Affiliation", "Entitlement", "Persistent-Id", "Targeted-Id", "Subject-Id", "Pairwise-Id", "Mail", "Uid", "Smuser",
	"X-Amzn-Lattice-*", "X-Amzn-Source-*", "X-Scope-Orgid", "Thanos-Tenant", "Accountid", "Projectid", "X-Rh-*", "Impersonate-*", "X-Agw-*",
	"X-Cloudtasks-*", "X-Cloudscheduler*",
	"Shib-*", "Eppn", "Sm-*", "Iv-*", "Oam-*", "Tailscale-*", "X-Tailscale-*",
	"X-Amzn-Request-Context", "X-Amzn-Lambda-Context", "X-Appengine-*", "X-Goog-Iap-*", "X-Ms-Client-*", "X-Ms-Token-*", "Cf-Access-*",
	// The client's address and its connection. Client-Cert is RFC 9440's, which has
	// whoever ends TLS remove it, and $WSCC WebSphere's.
	"X-Client-*", "X-Proto", "X-Protocol", "X-Port", "X-Coming-From", "X-Arr-*", "Front-End-*", "Wl-Proxy-*", "$WS*",
	"X-Azure-*", "Cf-Connecting-*", "Cf-Ip*", "Cf-Pseudo-*", "Cf-Visitor", "Fastly-*", "Akamai-*", "Cloudfront-*",
	// The path, and what becomes of the answer. Proxy is HTTP_PROXY to CGI programs.
	"X-Original-*", "X-Rewrite-*", "X-Request-Uri", "X-Request-Url", "X-Ingress-*", "Script-Name", "X-Script-Name",
	"Path-Info", "X-Path-Info", "Base-Url", "X-Base-Url", "X-Accel-*", "X-Sendfile*", "X-Middleware-*", "X-Content-Type", "Proxy",
	"X-Matched-Path", "X-Now-*", "X-Invoke-*", "X-Ms-Original-*",
}

// spoofableWords make a header spoofable in whose name one of them stands, between
// hyphens: most proxies have some name of their own for what they mean.
var spoofableWords = map[string]bool{
	"forwarded": true, "remote": true, "host": true, "scheme": true,
	"ip": true, "ipv4": true, "ipv6": true, "clientip": true, "socketip": true, "realip": true, "remoteip": true, "userip": true,
	"https": true, "ssl": true, "tls": true, "mtls": true, "cert": true, "certificate": true, "clientcert": true, "dn": true, "spiffe": true,
	"user": true, "username": true, "userid": true, "userinfo": true, "group": true, "groups": true, "role": true, "roles": true,
	"authenticated": true, "verified": true, "oidc": true, "saml": true, "sso": true,
}

// ownWords are headers that clients do send, although spoofableWords find them; those
// whose names end in User-Agent are more.
var ownWords = map[string]bool{
	"sec-fetch-user":  true, // by browsers
	"paypal-cert-url": true, // with events, to check their signature by
}

// headerRules say which headers of strangers are removed. The zero value removes those
// with spoofableWords.
type headerRules struct {
	always, listed, kept config.HeaderList
}

func newHeaderRules(c config.Edge) (h headerRules, err error) {
	if h.always, err = config.NewHeaderList(c.RemoveHeaders); err != nil {
		return headerRules{}, err
	}
	if h.listed, err = config.NewHeaderList(spoofable); err != nil {
		return headerRules{}, err
	}
	if h.kept, err = config.NewHeaderList(c.KeepHeaders); err != nil {
		return headerRules{}, err
	}
	return h, nil
}

// removes reports whether a header is taken from strangers' requests: one that is in
// a list, or in whose name a word says what it is about.
func (h headerRules) removes(key string) bool {
	name := config.PlainHeader(key)
	switch {
	case h.always.Has(name):
		return true
	case h.kept.Has(name):
		return false
	case h.listed.Has(name):
		return true
	case ownWords[name], strings.HasSuffix(name, "user-agent"):
		return false
	}
	for word := range strings.SplitSeq(name, "-") {
		if spoofableWords[word] {
			return true
		}
	}
	return false
}

// clean takes from the headers of a stranger what would be believed.
func (h headerRules) clean(header http.Header) {
	for k := range header {
		if h.removes(k) {
			delete(header, k)
		}
	}
}
