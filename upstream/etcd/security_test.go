package etcd

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// clientTLS is what the files say.
func clientTLS(t testing.TB, files agenttest.TLSPaths) *tls.Config {
	t.Helper()
	c, err := loadTLS(files)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func loadTLS(files agenttest.TLSPaths) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(files.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}

func say(password string) func() (string, error) {
	return func() (string, error) { return password, nil }
}

func TestAClusterBehindTLSIsReadAsAUser(t *testing.T) {
	t.Parallel()
	ca := agenttest.NewAuthority(t, "etcd's")
	files := agenttest.NewTLSPaths(t, ca, ca, "127.0.0.1")
	s := startServer(t, serverOptions{tls: &files})
	s.put("10.0.0.1:1")
	addUsers(t, s.client)

	mine := agenttest.NewTLSPaths(t, ca, ca, "proxy")
	o := Options{
		Endpoints: []string{s.endpoint()}, Username: "proxy", Password: say("known to it"),
		TLS: func() (*tls.Config, error) { return loadTLS(mine) },
	}
	awaitAddresses(t, running(t, o), "10.0.0.1:1")

	wrong := o
	wrong.Password = say("not known")
	awaitError(t, running(t, wrong), "etcd at "+s.endpoint()+" does not take the password of user proxy")

	none := o
	none.Username, none.Password = "", nil
	nobodys := agenttest.NewTLSPaths(t, ca, ca, "") // etcd would take its name for the user's
	none.TLS = func() (*tls.Config, error) { return loadTLS(nobodys) }
	awaitError(t, running(t, none), "asks for a user, and none is configured")

	other := o
	other.Prefix = "/srv/other"
	awaitError(t, running(t, other), `does not let user "proxy" read below /srv/other`)

	stranger := o
	strangers := agenttest.NewAuthority(t, "somebody else's")
	stranger.TLS = func() (*tls.Config, error) {
		c, err := loadTLS(mine)
		if err == nil {
			c.RootCAs = x509.NewCertPool()
			c.RootCAs.AddCert(strangers.Cert)
		}
		return c, err
	}
	awaitError(t, running(t, stranger), "certificate signed by unknown authority")
}

func TestFilesForEtcdThatWereMendedAreReadAgain(t *testing.T) {
	t.Parallel()
	ca, strangers := agenttest.NewAuthority(t, "etcd's"), agenttest.NewAuthority(t, "somebody else's")
	files := agenttest.NewTLSPaths(t, ca, ca, "127.0.0.1")
	s := startServer(t, serverOptions{tls: &files})
	s.put("10.0.0.1:1")
	mine := agenttest.NewTLSPaths(t, ca, strangers, "proxy")
	r := running(t, Options{Endpoints: []string{s.endpoint()}, Timeout: time.Second, TLS: func() (*tls.Config, error) { return loadTLS(mine) }})
	awaitError(t, r, "")
	mine.Replace(t, ca, "proxy")
	awaitAddresses(t, r, "10.0.0.1:1")
}

// addUsers has the cluster ask who one is: root may do anything, proxy read
// below the prefix.
func addUsers(t *testing.T, c *clientv3.Client) {
	t.Helper()
	ctx := t.Context()
	end := clientv3.GetPrefixRangeEnd(prefix + "/")
	for _, do := range []func() error{
		func() error { _, err := c.UserAdd(ctx, "root", "known to the test"); return err },
		func() error { _, err := c.RoleAdd(ctx, "root"); return err },
		func() error { _, err := c.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := c.UserAdd(ctx, "proxy", "known to it"); return err },
		func() error { _, err := c.RoleAdd(ctx, "reader"); return err },
		func() error {
			_, err := c.RoleGrantPermission(ctx, "reader", prefix+"/", end, clientv3.PermissionType(clientv3.PermRead))
			return err
		},
		func() error { _, err := c.UserGrantRole(ctx, "proxy", "reader"); return err },
		func() error { _, err := c.AuthEnable(ctx); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOptionsThatCannotWorkAreNamed(t *testing.T) {
	t.Parallel()
	at := func(endpoints ...string) Options { return Options{Endpoints: endpoints, Prefix: prefix} }
	as := func(o Options, user, password string) Options {
		if o.Username = user; password != "" {
			o.Password = say(password)
		}
		return o
	}
	for _, c := range []struct {
		what string
		o    Options
		want string
	}{
		{"no endpoint", at(), "no endpoint"},
		{"no prefix", Options{Endpoints: []string{"http://etcd0:2379"}, Prefix: "/"}, "no prefix"},
		{"no scheme", at("etcd0:2379"), `"etcd0:2379" is not http://host:port`},
		{"no port", at("http://etcd0"), `"http://etcd0" is not http://host:port`},
		{"a path", at("http://etcd0:2379/v3"), "is not http://host:port"},
		{"another scheme", at("ftp://etcd0:2379"), "is not http://host:port"},
		{"two schemes", at("https://etcd0:2379", "http://etcd1:2379"), "http://etcd1:2379 is not https"},
		{"a password in the clear", as(at("http://etcd0:2379"), "u", "secret"), "in the clear"},
		{"a user alone", as(at("https://etcd0:2379"), "u", ""), "needs a password"},
		{"a password alone", as(at("https://etcd0:2379"), "", "secret"), "needs a password"},
		{"a password in an endpoint", at("http://u:secret@etcd0:2379"), "is not http://host:port"},
		{"a negative limit", Options{Endpoints: []string{"http://etcd0:2379"}, Prefix: prefix, MaxInstances: -1}, "at most -1"},
		{"a negative time", Options{Endpoints: []string{"http://etcd0:2379"}, Prefix: prefix, Timeout: -1}, "a timeout of"},
	} {
		_, err := New(c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", c.what, err, c.want)
		}
	}
	for _, o := range []Options{
		at("http://etcd0:2379", "http://etcd1:2379"), at("http://[::1]:2379"),
		as(at("http://localhost:2379"), "u", "p"), as(at("https://etcd0:2379"), "u", "p"),
	} {
		if _, err := New(o); err != nil {
			t.Error(err)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, a := range []string{"10.0.0.1:1", "[::1]:65535", "host:65536", "a b:1", "[fe80::1%eth0]:1", ":1", "x/y:1", "host:+1"} {
		f.Add(a)
	}
	f.Fuzz(func(t *testing.T, a string) {
		if _, err := hostOf(a); err != nil {
			return
		}
		if strings.ContainsAny(a, " /\n\x00") || strings.HasSuffix(a, ":0") || strings.HasPrefix(a, ":") {
			t.Errorf("%q is taken for host:port", a)
		}
	})
}
