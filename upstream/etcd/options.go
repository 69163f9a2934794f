package etcd

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/upstream"
)

const (
	// DefaultMaxInstances is how many instances a destination has at most, unless
	// Options say otherwise.
	DefaultMaxInstances = 1000
	// DefaultTimeout is how long each question to the cluster may take, unless
	// Options say otherwise.
	DefaultTimeout = 5 * time.Second
)

// Options say where the instances of a destination are listed.
type Options struct {
	// Endpoints are those of the cluster's members, as http://host:port or
	// https://host:port. At least one is required, and all have one scheme.
	Endpoints []string
	// TLS returns the settings for https. It is called again for each new session
	// with the cluster, so that files which were replaced are read again; its errors
	// are tried again. Nil means no certificate, and the system's authorities.
	TLS func() (*tls.Config, error)
	// Username and Password are for a cluster that asks for them; Password is called
	// as TLS is. Empty and nil mean none. They go over http to this machine only.
	Username string
	Password func() (string, error)
	// Prefix is what the keys begin with, up to the slash before host:port.
	// Required.
	Prefix string
	// Identity returns what the instance at a host must prove to be; nil means the
	// zero upstream.Identity.
	Identity func(host string) upstream.Identity
	// MaxInstances bounds the set: of more, the first by their keys are used. Zero
	// means DefaultMaxInstances.
	MaxInstances int
	// Timeout bounds each question to the cluster; zero means DefaultTimeout.
	Timeout time.Duration
	// Logger may be nil.
	Logger hclog.Logger
}

func (o Options) withDefaults() Options {
	o.Prefix = strings.TrimRight(o.Prefix, "/")
	o.MaxInstances = cmp.Or(o.MaxInstances, DefaultMaxInstances)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	if o.Identity == nil {
		o.Identity = func(string) upstream.Identity { return upstream.Identity{} }
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	return o
}

func (o Options) check() error {
	switch {
	case len(o.Endpoints) == 0:
		return errors.New("etcd: no endpoint")
	case o.Prefix == "":
		return errors.New("etcd: no prefix: every key of the cluster would be an instance")
	case o.MaxInstances < 0:
		return fmt.Errorf("etcd: at most %d instances", o.MaxInstances)
	case o.Timeout < 0:
		return fmt.Errorf("etcd: a timeout of %s", o.Timeout)
	case (o.Username == "") != (o.Password == nil):
		return errors.New("etcd: a user needs a password, and a password a user")
	}
	var scheme string
	for _, e := range o.Endpoints {
		u, err := url.Parse(e)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Port() == "" || strings.Trim(u.Path, "/") != "" || u.User != nil {
			return fmt.Errorf("etcd: endpoint %q is not http://host:port or https://host:port", redacted(e))
		}
		if scheme != "" && u.Scheme != scheme {
			return fmt.Errorf("etcd: endpoint %s is not %s as the first one is: the client secures all or none", e, scheme)
		}
		scheme = u.Scheme
		if o.Password != nil && scheme == "http" && !isLoopback(u.Hostname()) {
			return fmt.Errorf("etcd: the password would go to %s in the clear: use https", e)
		}
	}
	return nil
}

// redacted is an endpoint without what stands before an @, which may be a
// password.
func redacted(endpoint string) string {
	if i := strings.LastIndexByte(endpoint, '@'); i >= 0 {
		return "…" + endpoint[i:]
	}
	return endpoint
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
