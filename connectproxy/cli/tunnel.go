package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"connect-proxy/config"
)

// tunnelKind is one of the commands that need neither Consul nor a file.
type tunnelKind struct {
	name, what, help string
	// server takes TLS from the network and hands it to an application here;
	// otherwise an application here is taken to the network, in TLS if secured.
	server, secured bool
}

const tunnelFlagsHelp = `
  -src ADDRESS
      Where connections are accepted: HOST:PORT, :PORT or unix:/path.
  -dst ADDRESS
      Where they lead: HOST:PORT.%s
%s  -print-config
      Print the configuration file that says the same, and end.

  -drain-timeout, -admin-addr, -metrics-names, -log-level, -log-json, -access-log,
  -tls-records, -tls-key-exchange and -pprof-addr are as without a command.

  Exit code 0: asked to stop, and stopped. 1: failed while running. 2: wrong usage,
  or a certificate that cannot be used.`

const (
	severalDst = ` Repeatable: each is tried until one
      works, by -balance. An SRV record, as _redis._tcp.example.org, stands
      alone and needs -verify.`
	certificateFlagsHelp = `  -tlscertpath DIRECTORY
      Where cert.pem, key.pem and ca.pem are. They are read again when they change.
  -cert FILE, -key FILE, -cacert FILE
      The same one by one, in PEM form; each overrides -tlscertpath.
  -verify PATTERN
      Whom the other side has to be, by its certificate: spiffe://example.org/web,
      with * for a segment of the path, another URI, dns:web.example.org,
      dns:*.example.org or cn:web. Repeatable: one of them is enough.
      %s
`
	balanceFlagHelp = `  -balance POLICY
      ordered (the default: the first that works, in their order), round_robin,
      random or least_connections.
`
	plaintextSrcHelp = `  -allow-plaintext-src
      Let other machines connect to -src, though that is without TLS.
`
	plaintextDstHelp = `  -allow-plaintext-dst
      Let -dst be on another machine, though the way there is without TLS.
`
)

// tunnelKinds are those commands.
var tunnelKinds = []tunnelKind{
	{name: "tls-client", what: "connect programs here to a TLS server, without Consul", secured: true, help: `Usage: connect-proxy tls-client -src ADDRESS -dst ADDRESS -tlscertpath DIRECTORY` +
		fmt.Sprintf(etcdUsage, "tls-client", " -tlscertpath DIRECTORY -verify PATTERN") + `

  Takes connections of programs on this machine to a TLS server: both sides prove
  who they are, by certificates in files.

    $ connect-proxy tls-client -src :16379 -dst 10.0.3.144:6379 -tlscertpath /etc/redis/tls
` + fmt.Sprintf(tunnelFlagsHelp, severalDst,
		fmt.Sprintf(certificateFlagsHelp, "Without it the server's certificate must be for the host or address of -dst.")+
			fmt.Sprintf(etcdFlagsHelp, " They need -verify.")+balanceFlagHelp+plaintextSrcHelp)},
	{name: "tls-server", what: "take TLS connections to a program here, without Consul", server: true, secured: true, help: `Usage: connect-proxy tls-server -src ADDRESS -dst ADDRESS -tlscertpath DIRECTORY

  Takes TLS connections from other machines to a program on this one: both sides
  prove who they are, by certificates in files.

    $ connect-proxy tls-server -src :6380 -dst 127.0.0.1:6379 -tlscertpath /etc/redis/tls -verify dns:web.example.org
` + fmt.Sprintf(tunnelFlagsHelp, "",
		fmt.Sprintf(certificateFlagsHelp, "Without it every client of the CA may connect.")+plaintextDstHelp)},
	{name: "tunnel", what: "lead connections to one of several addresses, without TLS", help: `Usage: connect-proxy tunnel -src ADDRESS -dst ADDRESS [-dst ADDRESS...]` +
		fmt.Sprintf(etcdUsage, "tunnel", " -allow-plaintext-dst") + `

  Takes connections of programs on this machine to the first of several addresses
  that works, without TLS.

    $ connect-proxy tunnel -src :16379 -dst 127.0.0.1:6379 -dst 127.0.0.1:6380 -balance ordered
` + fmt.Sprintf(tunnelFlagsHelp, severalDst, fmt.Sprintf(etcdFlagsHelp, " They need -allow-plaintext-dst.")+balanceFlagHelp+plaintextSrcHelp+plaintextDstHelp)},
}

// tunnelOptions are the flags of one of them.
type tunnelOptions struct {
	kind      tunnelKind
	src       string
	dst       stringList
	etcd      etcdOptions
	certPath  string
	files     config.CertificateFiles
	verify    stringList
	balance   string
	plainSrc  bool
	plainDst  bool
	printOnly bool
}

func (o *tunnelOptions) flags(fs *flag.FlagSet) {
	fs.StringVar(&o.src, "src", "", "")
	fs.Var(&o.dst, "dst", "")
	fs.BoolVar(&o.printOnly, "print-config", false, "")
	if o.kind.secured {
		fs.StringVar(&o.certPath, "tlscertpath", "", "")
		fs.StringVar(&o.files.Cert, "cert", "", "")
		fs.StringVar(&o.files.Key, "key", "", "")
		fs.StringVar(&o.files.CA, "cacert", "", "")
		fs.Var(&o.verify, "verify", "")
	}
	if !o.kind.server {
		o.etcd.flags(fs)
		fs.StringVar(&o.balance, "balance", string(config.Ordered), "")
		fs.BoolVar(&o.plainSrc, "allow-plaintext-src", false, "")
	}
	if o.kind.server || !o.kind.secured {
		fs.BoolVar(&o.plainDst, "allow-plaintext-dst", false, "")
	}
}

// tunnelFlags are all flags of such a command: its own, and those that say how any
// proxy is operated.
func tunnelFlags(own *tunnelOptions, common *options) *flag.FlagSet {
	fs := flag.NewFlagSet(own.kind.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	own.flags(fs)
	all := common.flagSet()
	for _, g := range flagGroups {
		if g.title == operation {
			for _, name := range g.names {
				f := all.Lookup(name)
				fs.Var(f.Value, f.Name, f.Usage)
			}
		}
	}
	return fs
}

// run runs one of the commands.
func (k tunnelKind) run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, p := tunnelOptions{kind: k}, &plan{}
	fs := tunnelFlags(&o, &p.options)
	if err := fs.Parse(args); err != nil {
		return usageOf(stderr, k.name, err.Error())
	}
	if problem, refused := o.withoutEtcd(ctx); refused {
		report(stderr, problem)
		return exitUsage
	}
	var problems []string
	if fs.NArg() > 0 {
		problems = append(problems, fmt.Sprintf("%q is neither a flag nor a flag's value", fs.Arg(0)))
	}
	text, more := o.file()
	problems = append(problems, more...)
	if len(problems) == 0 {
		p.static, problems = o.parse(text)
	}
	problems = append(problems, p.operation(os.Getenv, stderr)...)
	if len(problems) > 0 {
		return usageOf(stderr, k.name, problems...)
	}
	if o.printOnly {
		fmt.Fprint(stdout, text)
		return exitDrained
	}
	if problems := o.unusable(p.static); len(problems) > 0 {
		report(stderr, problems...)
		return exitUsage
	}
	p.from = configSource{mode: config.Flags, by: k.name}
	_, port, _ := strings.Cut(o.src, ":")
	p.name = k.name + "-" + strings.NewReplacer("/", "-", ":", "-").Replace(port)
	return p.run(ctx, stdout, stderr, nil)
}

// parse reads the file that the flags come to, and names mistakes by the flags.
func (o *tunnelOptions) parse(text string) (*config.Config, []string) {
	cfg, err := config.Parse("flags.hcl", []byte(text))
	var invalid *config.Invalid
	if errors.As(err, &invalid) {
		var problems []string
		for _, m := range invalid.Mistakes {
			problems = append(problems, o.inFlags(m))
		}
		return nil, problems
	}
	cfg.Mode = config.Flags
	return cfg, nil
}

// fieldFlags are the flags for the settings that mistakes may be in.
var fieldFlags = []struct{ field, flag string }{
	{"public_listener.bind", "-src"}, {"public_listener.local_service_address", "-dst"}, {"public_listener.allow", "-verify"},
	{"upstreams[0].local_bind", "-src"}, {"upstreams[0].destination", "-dst"}, {"upstreams[0].verify", "-verify"},
	{"upstreams[0].balance", "-balance"}, {"identity.files.cert", "-cert"}, {"identity.files.key", "-key"}, {"identity.files.ca", "-cacert"},
	{"upstreams[0].etcd_endpoints", "-dsc"}, {"upstreams[0].etcd_ca_file", "-dsc-cacert"}, {"upstreams[0].etcd_cert_file", "-dsc-cert"},
	{"upstreams[0].etcd_key_file", "-dsc-key"}, {"upstreams[0].etcd_username", "-dsc-user"}, {"upstreams[0].etcd_password_file", "-dsc-password-file"},
}

func (o *tunnelOptions) inFlags(m config.Mistake) string {
	for _, f := range fieldFlags {
		if strings.HasPrefix(m.Field, f.field) {
			return f.flag + ": " + m.Problem
		}
	}
	return m.String()
}

// local reports whether an address can be reached from this machine alone.
func local(a config.Address) bool {
	ip := net.ParseIP(a.Host)
	return a.Path != "" || a.Host == "localhost" || ip != nil && ip.IsLoopback()
}

// plaintext refuses what other machines could read or reach without TLS.
func (o *tunnelOptions) plaintext(src config.Address, dst []config.Address) (problems []string) {
	if !o.kind.server && !o.plainSrc && !local(src) {
		problems = append(problems, fmt.Sprintf(
			"-src %s: other machines could connect without TLS, and without proving who they are: give an address of this machine alone, such as 127.0.0.1:%d, or allow it with -allow-plaintext-src", o.src, src.Port))
	}
	if o.kind.secured && !o.kind.server || o.plainDst {
		return problems
	}
	if o.etcd.isSet() {
		problems = append(problems, fmt.Sprintf(
			"-srv %s: the way to the instances is without TLS, so that others could read and change what passes: use tls-client and tls-server, or allow it with -allow-plaintext-dst", o.etcd.prefix))
	}
	for i, a := range dst {
		if !local(a) {
			instead := "use tls-client and tls-server"
			if o.kind.server {
				instead = "run tls-server there"
			}
			problems = append(problems, fmt.Sprintf(
				"-dst %s: the way there is without TLS, so that others could read and change what passes: %s, or allow it with -allow-plaintext-dst", o.dst[i], instead))
		}
	}
	return problems
}

// destinations reads -dst, which may be an SRV record where it stands alone.
func (o *tunnelOptions) destinations() (all []config.Address, problems []string) {
	if o.etcd.isSet() {
		return nil, o.etcd.problems(o.dst)
	}
	for _, text := range o.dst {
		if strings.HasPrefix(text, "_") && len(o.dst) == 1 && !o.kind.server {
			all = append(all, config.Address{Host: text})
			continue
		}
		a, err := config.ParseAddress(text)
		switch {
		case err != nil:
			problems = append(problems, "-dst "+err.Error())
		case a.Path == "" && a.Host == "":
			a.Host = config.DefaultLocalHost
			fallthrough
		default:
			all = append(all, a)
		}
	}
	switch {
	case len(o.dst) == 0:
		problems = append(problems, "-dst is missing: say where connections lead, such as -dst 127.0.0.1:6379")
	case o.kind.server && len(o.dst) > 1:
		problems = append(problems, "-dst is given more than once: a server leads to one program")
	}
	return all, problems
}
