package config

import (
	"cmp"
	"slices"
	"strings"

	"connect-proxy/connectproxy/allowlist"
)

// What a listener's Identity is besides the name of one of Config.Identities and
// empty, which is the identity that Consul gives to the service.
const (
	// consulIdentity is how a file may write the empty one.
	consulIdentity = "consul"
	// PlaintextIdentity is none: connections to a destination are not secured.
	PlaintextIdentity = "plaintext"
)

// Identity is a certificate from files, under the name that listeners have for
// it.
type Identity struct {
	// Name is what listeners name it by. It is required.
	Name string
	CertificateFiles
}

// CertificateFiles are where a certificate, its key and the CAs to trust are. It
// is comparable.
type CertificateFiles struct {
	// Cert is a PEM file of the certificate and those between it and its CA, in
	// that order; Key one of its key, and empty where Cert has that too.
	Cert, Key string
	// PKCS12 is a file that has both, in place of them, and PKCS12Password one
	// with its password in the first line; empty is the empty password.
	PKCS12, PKCS12Password string
	// CA is a PEM file of the CAs that peers' certificates must be of; empty
	// means those in PKCS12.
	CA string
}

// identityBlock is the one block of a file that has a label: its name.
const identityBlock = "identity"

// identityKeys stand in a file's identity block.
var identityKeys = keys[Identity]{
	"cert_file":            into(func(i *Identity) *string { return &i.Cert }, value.text),
	"key_file":             into(func(i *Identity) *string { return &i.Key }, value.text),
	"ca_file":              into(func(i *Identity) *string { return &i.CA }, value.text),
	"pkcs12_file":          into(func(i *Identity) *string { return &i.PKCS12 }, value.text),
	"pkcs12_password_file": into(func(i *Identity) *string { return &i.PKCS12Password }, value.text),
}

// needsService reports whether anything in c is Consul's but for an upstream that
// lacks an identity, whose mistake that is.
func (c Config) needsService() bool {
	return c.Public != nil && c.Public.Identity == "" || c.NamesAtRunTime() ||
		slices.ContainsFunc(c.Upstreams, func(u Upstream) bool { return u.Destination.Type.consul() })
}

// NeedsAgent reports whether anything in c is Consul's: an identity, who may call,
// or where instances are.
func (c Config) NeedsAgent() bool {
	if c.Public != nil && c.Public.Identity == "" || c.NamesAtRunTime() {
		return true
	}
	for _, u := range c.Upstreams {
		if u.Identity == "" || u.Destination.Type.consul() {
			return true
		}
	}
	return false
}

// identified fills in whom the listeners stand for where a file leaves that out:
// the only identity it has, where Consul's is not meant.
func (c *Config) identified() {
	only := ""
	if len(c.Identities) == 1 {
		only = c.Identities[0].Name
	}
	name := func(given string, consul bool) string {
		switch {
		case given == consulIdentity:
			return ""
		case given == "" && !consul:
			return only
		}
		return given
	}
	if c.Public != nil { // a copy already
		c.Public.Identity = name(c.Public.Identity, c.Service != "")
	}
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		u.Identity = name(u.Identity, u.Destination.Type.consul())
	}
}

func (v *checks) identities(c Config) {
	seen := map[string]bool{}
	for _, i := range c.Identities {
		field := "identity." + i.Name
		switch {
		case i.Name == "" || i.Name == consulIdentity || i.Name == PlaintextIdentity:
			v.addMistake(field, quoted(i.Name), `no name for an identity from files: choose one besides "consul" and "plaintext"`)
		case seen[i.Name]:
			v.addMistake(field, quoted(i.Name), "given before: two identities have one name")
		}
		seen[i.Name] = true
		v.certificateFiles(field+".", i.CertificateFiles)
	}
}

func (v *checks) certificateFiles(field string, f CertificateFiles) {
	switch {
	case f.Cert == "" && f.PKCS12 == "":
		v.missing(field+"cert_file", "name the PEM file of the certificate, or a pkcs12_file")
	case f.Cert != "" && f.PKCS12 != "":
		v.addMistake(field+"pkcs12_file", quoted(f.PKCS12), "given together with cert_file: keep one of the two")
	case f.PKCS12 != "" && f.Key != "":
		v.addMistake(field+"key_file", quoted(f.Key), "given together with pkcs12_file, which has the key: leave it out")
	case f.PKCS12 == "" && f.PKCS12Password != "":
		v.addMistake(field+"pkcs12_password_file", quoted(f.PKCS12Password), "goes with pkcs12_file alone")
	}
	if f.Cert != "" && f.CA == "" {
		v.missing(field+"ca_file", "name the PEM file of the CAs that peers' certificates must be of")
	}
}

// known checks whom a listener stands for, and reports whether that is an identity
// from files.
func (v *checks) known(field, name string, c Config) bool {
	for _, i := range c.Identities {
		if i.Name == name && name != "" {
			return true
		}
	}
	if name != "" && name != PlaintextIdentity {
		v.addMistake(field, quoted(name), "no identity block has this name")
	}
	return false
}

func (v *checks) publicIdentity(p Public, c Config) {
	const field = "public_listener."
	files := v.known(field+"identity", p.Identity, c)
	switch {
	case p.Identity == PlaintextIdentity:
		v.addMistake(field+"identity", quoted(p.Identity), "a public listener proves who it is: name an identity block")
	case p.Identity == "" && len(p.Allow) > 0:
		v.addMistake(field+"allow", "", "goes with an identity from files: who may call by Consul's is what intentions say")
	case files && p.Allow == nil:
		v.missing(field+"allow", `list who may connect, such as ["spiffe://example.org/web", "dns:web.example.org", "cn:web"], or ["*"] for every certificate of the CA`)
	case files:
		v.patterns(field+"allow", p.Allow)
	}
}

// upstreamIdentity checks how an instance proves who it is.
func (v *checks) upstreamIdentity(field string, u Upstream, c Config) {
	if !u.Destination.Type.builtIn() {
		return // the type is the mistake, or a program's own
	}
	files := v.known(field+"identity", u.Identity, c)
	verify := u.Destination.Patterns()
	switch consul := u.Destination.Type.consul(); {
	case consul && u.Identity != "":
		v.addMistake(field+"identity", quoted(u.Identity), "instances from Consul's catalog prove the identity that Consul gives them: leave it out")
	case !consul && u.Identity == "":
		v.missing(field+"identity", `Consul gives none to these instances: name an identity block, or "plaintext"`)
	case !files && len(verify) > 0:
		v.addMistake(field+"verify", "", "goes with an identity from files")
	case files && u.Destination.Type == EtcdKeys && len(verify) == 0:
		v.missing(field+"verify", "a key in etcd could name anyone: say whom the instances have to prove to be, such as dns:*.example.org")
	case files && u.Destination.isSRV() && len(verify) == 0:
		v.missing(field+"verify", "an SRV record could name anyone: say whom the instances have to prove to be, such as dns:*.example.org")
	}
	v.patterns(field+"verify", verify)
}

func (v *checks) patterns(field string, all []string) {
	for _, text := range all {
		if err := allowlist.Check(text); err != nil {
			v.addMistake(field, quoted(text), quoted(text)+": "+err.Error())
		}
	}
}

// Patterns are those of Verify.
func (d Destination) Patterns() []string {
	if d.Verify == "" {
		return nil
	}
	return strings.Split(d.Verify, "\n")
}

// joined makes one text of a list, so that what has it can be compared.
func joined(list []string) string { return strings.Join(list, "\n") }

// OfConsul reports whether Consul finds the destination.
func (d Destination) OfConsul() bool { return d.Type.consul() }

// consul reports whether Consul finds destinations of the type.
func (t DestinationType) consul() bool {
	t = cmp.Or(t, Service)
	return t == Service || t == PreparedQuery
}
