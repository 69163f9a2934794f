package identity

// This file is the only one that imports Consul's connect packages. They define
// what a Connect identity looks like: the SPIFFE URI of a service, what
// counts as one in a certificate, the SNI that goes with it, and how a serial
// number is written for the agent.
//
// The rest of consul/connect is not used. Its Service asks the agent to
// authorize in the middle of each handshake, one request per connection, and
// never for a resumed one. Its Resolver asks the agent for each dial. Its TLS
// configuration is cloned for every handshake, which also throws away the
// session ticket keys, so that nothing can ever be resumed; and its parts, leaf
// and roots, change one by one, so that there is no generation that a
// verification, a ticket or a decision could belong to. It compares a server's
// URI without its trust domain and without regard to case.

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"

	agentconnect "github.com/hashicorp/consul/agent/connect"
	"github.com/hashicorp/consul/connect"

	"connect-proxy/listener/secure"
	"connect-proxy/upstream"
)

const defaultName = "default" // of a namespace or partition left empty

// serviceID is what a service's SPIFFE URI says. It is comparable.
type serviceID struct {
	domain                                    string // lower case
	service, namespace, partition, datacenter string
}

// expectedID returns the identity of an upstream's instance in a trust domain.
func expectedID(id upstream.Identity, domain string) serviceID {
	return serviceID{
		domain:     strings.ToLower(domain),
		service:    id.Service,
		namespace:  cmp.Or(id.Namespace, defaultName),
		partition:  strings.ToLower(cmp.Or(id.Partition, defaultName)),
		datacenter: id.Datacenter,
	}
}

// within returns the same identity in another trust domain.
func (s serviceID) within(domain string) serviceID {
	s.domain = domain
	return s
}

// String returns the SPIFFE URI. It is written here, since Consul's own type, built
// without Enterprise, writes every namespace as "default".
func (s serviceID) String() string {
	path := "/ns/" + s.namespace + "/dc/" + s.datacenter + "/svc/" + s.service
	if s.partition != defaultName {
		path = "/ap/" + s.partition + path
	}
	u := url.URL{Scheme: "spiffe", Host: s.domain, Path: path}
	return u.String()
}

// sni returns the name under which mesh gateways and other proxies know a service.
func (s serviceID) sni() string {
	return agentconnect.ServiceSNI(s.service, "", s.namespace, s.partition, s.datacenter, s.domain)
}

// certificateID returns the identity that a leaf certificate holds: it must have one
// URI, and that a service's, with nothing a comparison of its parts would miss.
func certificateID(cert *x509.Certificate) (serviceID, error) {
	if len(cert.URIs) != 1 {
		return serviceID{}, fmt.Errorf("certificate has %d URIs, not one", len(cert.URIs))
	}
	u := cert.URIs[0]
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Port() != "" {
		return serviceID{}, fmt.Errorf("certificate's URI %q is no SPIFFE ID", u.Redacted())
	}
	id, err := parseServiceURI(u)
	if err != nil {
		return serviceID{}, fmt.Errorf("certificate's URI: %w", err)
	}
	return id, nil
}

func parseServiceURI(u *url.URL) (serviceID, error) {
	parsed, err := agentconnect.ParseCertURI(u)
	if err != nil {
		return serviceID{}, err
	}
	return serviceOf(parsed)
}

func serviceOf(uri agentconnect.CertURI) (serviceID, error) {
	s, ok := uri.(*agentconnect.SpiffeIDService)
	if !ok {
		return serviceID{}, fmt.Errorf("%s is not a service's", uri.URI())
	}
	return serviceID{
		domain:     strings.ToLower(s.Host),
		service:    s.Service,
		namespace:  s.Namespace, // not NamespaceOrDefault: see String
		partition:  s.PartitionOrDefault(),
		datacenter: s.Datacenter,
	}, nil
}

// peerOf returns the SPIFFE URI that the other side of sc proved in its handshake
// by the first of certs; empty where there was none. It is remembered with the
// certificate, which crypto/tls keeps for as long as sessions are resumed, since
// reading it takes as long as deriving keys.
func (i *Identity) peerOf(sc *secure.Conn, certs []*x509.Certificate) string {
	if len(certs) == 0 {
		return ""
	}
	return i.peers.GetOrAdd(certs[0], func() string { return provenBy(sc) })
}

func provenBy(sc *secure.Conn) string {
	uri, err := connect.CertURIFromConn(sc.Conn)
	if err != nil {
		return ""
	}
	id, err := serviceOf(uri)
	if err != nil {
		return ""
	}
	return id.String()
}

// serialNumber returns a certificate's serial number as the agent writes it.
func serialNumber(cert *x509.Certificate) string {
	return agentconnect.EncodeSerialNumber(cert.SerialNumber)
}

// signingDomains returns the trust domains that a root certificate names itself.
func signingDomains(cert *x509.Certificate) []string {
	var domains []string
	for _, u := range cert.URIs {
		if id, err := agentconnect.ParseCertURI(u); err == nil {
			if s, ok := id.(*agentconnect.SpiffeIDSigning); ok {
				domains = append(domains, s.Host())
			}
		}
	}
	return domains
}

// clusterDomain returns the trust domain of a cluster by its ID.
func clusterDomain(clusterID string) string {
	return agentconnect.SpiffeIDSigningForCluster(clusterID).Host()
}
