package connectproxy

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/connectproxy/agenttest/testca"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

// identityIn writes a certificate for the names into a directory of its own.
func identityIn(t *testing.T, name string, ca *testca.CA, p testca.Pair) config.Identity {
	t.Helper()
	dir := t.TempDir()
	ca.Write(t, dir, p)
	return config.Identity{Name: name, CertificateFiles: config.CertificateFiles{
		Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), CA: filepath.Join(dir, "ca.pem"),
	}}
}

// guarding is a configuration without Consul: a public listener for those allowed.
func guarding(id config.Identity, port int, app string, allow ...string) config.Config {
	return config.Config{
		Mode: config.File, Identities: []config.Identity{id},
		Public: &config.Public{Bind: tcp("127.0.0.1", port), Local: addressOf(app), Identity: id.Name, Allow: allow},
	}
}

// reaching is one that only dials: fixed addresses, as id.
func reaching(id config.Identity, port int, verify string, addresses ...string) config.Config {
	return config.Config{
		Mode: config.File, Identities: []config.Identity{id},
		Upstreams: []config.Upstream{{
			Bind: tcp("127.0.0.1", port), Identity: id.Name, Balance: config.Ordered, ConnectTimeout: 5 * time.Second,
			Destination: config.Destination{Addresses: strings.Join(addresses, "\n"), Verify: verify},
		}},
	}
}

// dialTLS connects to a public listener as a client of another program would.
func dialTLS(t *testing.T, port int, cfg *tls.Config) *talker {
	t.Helper()
	cfg.InsecureSkipVerify = true // the tests are about the other side
	raw := dial(t, port)
	c := tls.Client(raw.Conn, cfg)
	return &talker{t: t, Conn: c, r: bufio.NewReader(c)}
}

func as(p testca.Pair) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{p.Certificate}}
}

func TestAStrangerNeverReachesTheApplicationBehindAListOfCallers(t *testing.T) {
	t.Parallel()
	ca, other := testca.New(t, "ours"), testca.New(t, "ours")
	app, port := listenertest.NewEcho(t), agenttest.FreePort(t)
	id := identityIn(t, "files", ca, ca.Issue(t, []string{"dns:redis.example.org"}))
	startEngine(t, nil, guarding(id, port, app.Addr(), "spiffe://example.org/ns/*/svc/web", "dns:web.example.org", "cn:web")).ready()

	const web = "spiffe://example.org/ns/dev/svc/web"
	unsigned := ca.Issue(t, []string{web})
	unsigned.Certificate.PrivateKey = ca.Issue(t, nil).Certificate.PrivateKey
	strangers := map[string]*tls.Config{
		"without a certificate":                    {},
		"of another CA of the same name":           as(other.Issue(t, []string{web})),
		"with a key that is not the certificate's": as(unsigned),
		"whose certificate has expired":            as(ca.Issue(t, []string{web}, testca.Expired)),
		"whose certificate is a server's":          as(ca.Issue(t, []string{web}, testca.For(x509.ExtKeyUsageServerAuth))),
		"whose certificate is for signing code":    as(ca.Issue(t, []string{web}, testca.For(x509.ExtKeyUsageCodeSigning))),
		"that shows a CA's certificate": as(ca.Issue(t, []string{web}, func(c *x509.Certificate) {
			c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
		})),
		"of another service":                     as(ca.Issue(t, []string{"spiffe://example.org/ns/dev/svc/webx"})),
		"of a longer path":                       as(ca.Issue(t, []string{web + "/x"})),
		"of a path with two segments for *":      as(ca.Issue(t, []string{"spiffe://example.org/ns/dev/x/svc/web"})),
		"of another trust domain":                as(ca.Issue(t, []string{"spiffe://example.org.evil/ns/dev/svc/web"})),
		"with two SPIFFE IDs":                    as(ca.Issue(t, []string{web, "spiffe://example.org/other"})),
		"of a DNS name below":                    as(ca.Issue(t, []string{"dns:x.web.example.org"})),
		"of a DNS name with a wildcard":          as(ca.Issue(t, []string{"dns:*.example.org"})),
		"whose DNS name has a common name in it": as(ca.Issue(t, []string{"dns:x cn:web"})),
		"of an IP address":                       as(ca.Issue(t, []string{"ip:127.0.0.1"})),
		"of a common name in capitals":           as(ca.Issue(t, []string{"cn:WEB"})),
		"of a certificate without names":         as(ca.Issue(t, nil)),
		"of more names than are kept":            as(ca.Issue(t, append([]string{web}, manyNames(400)...))),
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, cfg := range strangers {
			t.Run(tls.VersionName(version)+" "+name, func(t *testing.T) {
				cfg.MaxVersion = version
				dialTLS(t, port, cfg).ends()
			})
		}
	}
	if n := app.Accepted(); n != 0 {
		t.Fatalf("%d strangers reached the application", n)
	}
	for _, name := range []string{web, "spiffe://EXAMPLE.org/ns/prod/svc/web", "dns:WEB.example.org", "cn:web"} {
		dialTLS(t, port, as(ca.Issue(t, []string{name}))).echo(name)
	}
}

func manyNames(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("dns:%d.example.org", i))
	}
	return all
}

func TestAChangedListOfCallersHoldsForOpenConnectionsAndForResumedSessions(t *testing.T) {
	t.Parallel()
	ca := testca.New(t, "ours")
	app, port := listenertest.NewEcho(t), agenttest.FreePort(t)
	id := identityIn(t, "files", ca, ca.Issue(t, []string{"dns:redis.example.org"}))
	config := guarding(id, port, app.Addr(), "dns:web.example.org", "dns:api.example.org")
	e := startEngine(t, nil, config).ready()
	client := func(name string) *tls.Config {
		cfg := as(ca.Issue(t, []string{"dns:" + name}))
		cfg.ClientSessionCache, cfg.ServerName = tls.NewLRUClientSessionCache(1), "redis.example.org"
		return cfg
	}
	web, api := client("web.example.org"), client("api.example.org")
	resumed := func(cfg *tls.Config) bool {
		c := dialTLS(t, port, cfg)
		c.echo("again")
		return c.Conn.(*tls.Conn).ConnectionState().DidResume
	}
	openWeb, openAPI := dialTLS(t, port, web), dialTLS(t, port, api)
	openWeb.echo("allowed")
	openAPI.echo("allowed")
	if !resumed(web) || !resumed(api) {
		t.Error("no session is resumed, so that the test shows nothing")
	}
	config.Public.Allow = []string{"dns:web.example.org"}
	e.apply(config)
	openAPI.ends()
	before := app.Accepted()
	dialTLS(t, port, api).ends()
	if app.Accepted() != before {
		t.Error("a resumed session of whom the list no longer has reached the application")
	}
	openWeb.echo("goes on")
	if !resumed(web) {
		t.Error("a change of the list ended all sessions")
	}
	if n := e.count(listener.ReasonIntentionRevoked); n != 2 { // the open one and the resumed one before it
		t.Errorf("%d connections were cut", n)
	}
	config.Public.Allow = []string{}
	e.apply(config)
	openWeb.ends()
	dialTLS(t, port, web).ends()
}

// serveTLS is an echo server of another program.
func serveTLS(t *testing.T, cfg *tls.Config) string {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(soon))
			_, _ = io.Copy(c, c)
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

func TestAnInstanceProvesToBeWhomItIsDialledAs(t *testing.T) {
	t.Parallel()
	ca, other := testca.New(t, "ours"), testca.New(t, "ours")
	id := identityIn(t, "files", ca, ca.Issue(t, []string{"dns:web.example.org"}))
	port := agenttest.FreePort(t)
	e := startEngine(t, nil, reaching(id, port, "", "127.0.0.1:1"))
	for _, tc := range []struct {
		name, verify, host string
		pair               testca.Pair
		good               bool
	}{
		{"for the address dialled", "", "127.0.0.1", ca.Issue(t, []string{"ip:127.0.0.1"}), true},
		{"for the name dialled", "", "localhost", ca.Issue(t, []string{"dns:localhost"}), true},
		{"for a pattern", "dns:*.example.org", "127.0.0.1", ca.Issue(t, []string{"dns:redis.example.org"}), true},
		{"for one of two patterns", "spiffe://a.org/x\ncn:redis", "127.0.0.1", ca.Issue(t, []string{"cn:redis"}), true},
		{"for another address", "", "127.0.0.1", ca.Issue(t, []string{"ip:127.0.0.2"}), false},
		{"for the address as a DNS name", "", "127.0.0.1", ca.Issue(t, []string{"dns:127.0.0.1", "cn:127.0.0.1"}), false},
		{"for the address where the name is dialled", "", "localhost", ca.Issue(t, []string{"ip:127.0.0.1"}), false},
		{"for the name in the common name alone", "", "localhost", ca.Issue(t, []string{"cn:localhost"}), false},
		{"for the address where a pattern is asked for", "dns:redis.example.org", "127.0.0.1", ca.Issue(t, []string{"ip:127.0.0.1"}), false},
		{"for nothing", "", "127.0.0.1", ca.Issue(t, nil), false},
		{"of another CA", "", "127.0.0.1", other.Issue(t, []string{"ip:127.0.0.1"}), false},
		{"of another CA that matches the pattern", "*", "127.0.0.1", other.Issue(t, []string{"ip:127.0.0.1"}), false},
		{"that has expired", "", "127.0.0.1", ca.Issue(t, []string{"ip:127.0.0.1"}, testca.Expired), false},
		{"that is a client's", "", "127.0.0.1", ca.Issue(t, []string{"ip:127.0.0.1"}, testca.For(x509.ExtKeyUsageClientAuth)), false},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(tls.VersionName(version)+" "+tc.name, func(t *testing.T) {
				server := serveTLS(t, &tls.Config{
					Certificates: []tls.Certificate{tc.pair.Certificate}, ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
					MaxVersion: version,
				})
				_, serverPort, _ := net.SplitHostPort(server)
				e.apply(reaching(id, port, tc.verify, net.JoinHostPort(tc.host, serverPort)))
				if tc.good {
					dial(t, port).echo("hello")
					return
				}
				dial(t, port).ends()
			})
		}
	}
	if n := e.count(listener.ReasonUpstreamIdentity); n < 9 {
		t.Errorf("%d connections ended for the identity of an instance", n)
	}
}

func TestFixedAddressesAreTriedInTheirOrderByThisProgramOnBothSides(t *testing.T) {
	t.Parallel()
	ca := testca.New(t, "ours")
	app, ports := listenertest.NewEcho(t), agenttest.FreePorts(t, 2)
	server := identityIn(t, "files", ca, ca.Issue(t, []string{"ip:127.0.0.1"}))
	client := identityIn(t, "files", ca, ca.Issue(t, []string{"spiffe://example.org/web"}))
	callee := startEngine(t, nil, guarding(server, ports, app.Addr(), "spiffe://example.org/web")).ready()
	caller := startEngine(t, nil, reaching(client, ports+1, "", "127.0.0.1:1", at(ports))).ready()
	c := dial(t, ports+1)
	c.echo("through both")
	if s := caller.Status(); s.Agent != nil || s.Identity.SpiffeID != "spiffe://example.org/web" || len(s.Listeners[0].Upstream.Instances) != 2 {
		t.Errorf("%+v", s)
	}
	if d := (adminSource{callee.Proxy}).Intentions(); !d.ByList || len(d.Decisions) != 1 || !d.Decisions[0].Allowed || d.Decisions[0].Peer != "spiffe://example.org/web" {
		t.Errorf("%+v", d)
	}
}

func TestInstancesOfAHostNameAreFoundAndProveThatName(t *testing.T) {
	t.Parallel()
	ca := testca.New(t, "ours")
	app, ports := listenertest.NewEcho(t), agenttest.FreePorts(t, 4)
	client := identityIn(t, "files", ca, ca.Issue(t, []string{"spiffe://example.org/web"}))
	byDNS := func(port, instance int) config.Config {
		c := reaching(client, port, "")
		c.Upstreams[0].Destination = config.Destination{Type: config.DNS, Name: fmt.Sprintf("localhost:%d", instance)}
		return c
	}
	for i, name := range []string{"dns:localhost", "ip:127.0.0.1"} {
		server := identityIn(t, "files", ca, ca.Issue(t, []string{name}))
		startEngine(t, nil, guarding(server, ports+i, app.Addr(), "spiffe://example.org/web")).ready()
	}
	caller := startEngine(t, nil, byDNS(ports+2, ports)).ready()
	dial(t, ports+2).echo("through both")
	found := caller.Status().Listeners[0].Upstream.Instances
	if !slices.ContainsFunc(found, func(i InstanceStatus) bool {
		return i.Address == at(ports) || i.Address == fmt.Sprintf("localhost:%d", ports)
	}) {
		t.Errorf("found are %+v", found)
	}
	caller.apply(byDNS(ports+3, ports+1))
	dial(t, ports+3).ends()
	listenertest.Eventually(t, "the address that was proved in place of the name", func() bool { return caller.count(listener.ReasonUpstreamIdentity) == 1 })
}

func TestAStaticIdentityAndConsulsServeOneFile(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	ca := testca.New(t, "ours")
	ports := agenttest.FreePorts(t, 3)
	db := listenertest.NewEcho(t)
	startEngine(t, agent, serving("db", ports, db.Addr())).ready()
	agent.Instance("db", ports)
	redis := serveTLS(t, &tls.Config{
		Certificates: []tls.Certificate{ca.Issue(t, []string{"ip:127.0.0.1"}).Certificate}, ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
	})
	id := identityIn(t, "files", ca, ca.Issue(t, []string{"cn:web"}))
	c := calling("web", to("db", ports+1))
	static := reaching(id, ports+2, "", redis)
	c.Identities, c.Upstreams = static.Identities, append(c.Upstreams, static.Upstreams...)
	e := startEngine(t, agent, c).ready()
	dial(t, ports+1).echo("by Consul")
	dial(t, ports+2).echo("by files")
	s := e.Status()
	if len(s.OtherIdentities) != 1 || s.OtherIdentities[0].Name != "files" || s.OtherIdentities[0].SpiffeID != "cn:web" || s.Identity.SpiffeID != agent.URI("web") {
		t.Errorf("%+v, %+v", s.Identity, s.OtherIdentities)
	}
	if f := e.facts(); !f.LeafNotAfter.Equal(s.OtherIdentities[0].LeafNotAfter) {
		t.Errorf("the certificate that ends first ends at %s, metrics say %s", s.OtherIdentities[0].LeafNotAfter, f.LeafNotAfter)
	}
}

func TestFilesThatCannotBeUsedAreNeverHalfApplied(t *testing.T) {
	t.Parallel()
	ca := testca.New(t, "ours")
	app, ports := listenertest.NewEcho(t), agenttest.FreePorts(t, 2)
	good := identityIn(t, "files", ca, ca.Issue(t, []string{"dns:redis.example.org"}))
	bad := identityIn(t, "new", ca, ca.Issue(t, []string{"dns:new.example.org"}))
	if err := os.Remove(bad.Key); err != nil {
		t.Fatal(err)
	}
	first := startEngineRaw(t, guarding(bad, ports, app.Addr(), "*"))
	var invalid *config.Invalid
	if err := <-first; !errors.As(err, &invalid) || len(invalid.Mistakes) != 1 || !strings.Contains(err.Error(), bad.Key+" does not exist") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
	e := startEngine(t, nil, guarding(good, ports, app.Addr(), "cn:web")).ready()
	client := as(ca.Issue(t, []string{"cn:web"}))
	e.apply(guarding(bad, ports+1, app.Addr(), "*"))
	if got := e.Status().Config.Problem; !strings.Contains(got, bad.Key+" does not exist") {
		t.Errorf("%q", got)
	}
	dialTLS(t, ports, client).echo("as before")
	refused(t, ports+1)
	ca.Write(t, filepath.Dir(bad.Cert), ca.Issue(t, []string{"dns:new.example.org"}))
	agenttest.Eventually(t, soon, func() error { return listening(ports + 1) })
	dialTLS(t, ports+1, client).echo("mended")
	if got := e.Status(); got.Config.Problem != "" || got.Identity.SpiffeID != "dns:new.example.org" {
		t.Errorf("%+v", got)
	}
}

// startEngineRaw runs a proxy that is to end by itself, and gives what it ends
// with.
func startEngineRaw(t *testing.T, c config.Config) <-chan error {
	t.Helper()
	full := c.WithDefaults()
	p, err := New(Options{Source: &config.Static{Config: &full}})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	ctx := t.Context()
	go func() { ended <- p.Run(ctx) }()
	return ended
}

func TestAConfigurationOfConsulsIsRefusedWithoutAClient(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]config.Config{
		"a public listener": serving("db", 1, "127.0.0.1:2"), "an upstream": calling("web", to("db", 1)),
	} {
		var invalid *config.Invalid
		if err := <-startEngineRaw(t, c); !errors.As(err, &invalid) || !strings.Contains(err.Error(), "no agent to ask") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPlaintextGoesWhereItIsToldTo(t *testing.T) {
	t.Parallel()
	app, port := listenertest.NewEcho(t), agenttest.FreePort(t)
	c := reaching(config.Identity{}, port, "", "127.0.0.1:1", app.Addr())
	c.Identities, c.Upstreams[0].Identity = nil, config.PlaintextIdentity
	e := startEngine(t, nil, c).ready()
	dial(t, port).echo("in the clear")
	if log := e.log.String(); strings.Contains(log, "leaf_not_after") {
		t.Error("the log speaks of a certificate")
	}
}
