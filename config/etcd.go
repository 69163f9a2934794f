package config

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Etcd is how a cluster of etcd is reached. It is comparable.
type Etcd struct {
	// Endpoints are its members', as http://HOST:PORT or https://HOST:PORT, one a
	// line.
	Endpoints string
	// CAFile has the authorities of https, in PEM form; empty means the system's.
	// CertFile and KeyFile are shown to a cluster that asks for a certificate.
	CAFile, CertFile, KeyFile string
	// Username and the first line of PasswordFile are for a cluster that asks for
	// them.
	Username, PasswordFile string
}

// EndpointList are its Endpoints.
func (e Etcd) EndpointList() []string {
	if e.Endpoints == "" {
		return nil
	}
	return strings.Split(e.Endpoints, "\n")
}

// etcdKeys stand beside destinationKeys.
var etcdKeys = keys[Upstream]{
	// Nobody is to write a password into a URL. Whoever has done so does not find it
	// in a log.
	"etcd_endpoints": {secret: true, set: func(u *Upstream, v value) error {
		list, err := v.texts()
		u.Destination.Etcd.Endpoints = joined(list)
		return err
	}},
	"etcd_ca_file":       into(func(u *Upstream) *string { return &u.Destination.Etcd.CAFile }, value.text),
	"etcd_cert_file":     into(func(u *Upstream) *string { return &u.Destination.Etcd.CertFile }, value.text),
	"etcd_key_file":      into(func(u *Upstream) *string { return &u.Destination.Etcd.KeyFile }, value.text),
	"etcd_username":      into(func(u *Upstream) *string { return &u.Destination.Etcd.Username }, value.text),
	"etcd_password_file": into(func(u *Upstream) *string { return &u.Destination.Etcd.PasswordFile }, value.text),
}

// etcd checks a destination whose instances are keys in etcd.
func (v *checks) etcd(field string, d Destination) {
	if strings.Trim(d.Name, "/") == "" {
		v.missing(field+"destination_name", "name what the keys begin with, such as /srv/redis/debug")
	}
	e := d.Etcd
	if e.Endpoints == "" {
		v.missing(field+"etcd_endpoints", "say where etcd is, such as https://etcd-0.example.org:2379")
	}
	var scheme string
	for i, endpoint := range e.EndpointList() {
		u, ok := etcdEndpoint(endpoint)
		if !ok {
			v.addMistake(field+"etcd_endpoints", "", fmt.Sprintf("number %d is not http://HOST:PORT or https://HOST:PORT, without a user, a password or a path", i+1))
			return
		}
		if scheme != "" && u.Scheme != scheme {
			v.addMistake(field+"etcd_endpoints", quoted(endpoint), "use http or https for all of them")
		}
		scheme = u.Scheme
		if e.Username != "" && scheme == "http" && !loopback(u.Hostname()) {
			v.addMistake(field+"etcd_username", quoted(e.Username), "the password would go to "+endpoint+" in the clear: use https")
		}
	}
	if (e.CertFile == "") != (e.KeyFile == "") {
		v.missing(field+"etcd_key_file", "a certificate goes with its key, and a key with its certificate")
	}
	if (e.Username == "") != (e.PasswordFile == "") {
		v.missing(field+"etcd_password_file", "a user goes with a password, and a password with its user")
	}
	if scheme == "http" && e.CAFile+e.CertFile != "" {
		v.addMistake(field+"etcd_endpoints", "", "the certificates are for https")
	}
}

// etcdEndpoint reads one.
func etcdEndpoint(text string) (*url.URL, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery+u.Fragment != "" {
		return nil, false
	}
	_, _, err = net.SplitHostPort(u.Host)
	return u, err == nil && u.Hostname() != "" && u.Port() != ""
}
