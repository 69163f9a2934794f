//go:build linux

package peer

import (
	"context"
	"strings"
)

// Kind is one of the programs that are compared.
type Kind struct {
	// Name is for people and for the command line.
	Name string
	// Reference is what no user would choose: it is shown and does not count as
	// a peer.
	Reference bool
	// Agent says that the pair works with the Consul agent.
	Agent bool
	// Slow is a kind that opens too few connections a second to be asked for
	// thousands.
	Slow bool

	// service is the name in files and in the agent.
	service string
	// limit is the soft limit of descriptors at the start.
	limit string
	// find gets the program ready and gives its version.
	find func(context.Context, *Lab) (string, error)
	// commands are those of the server's side and the client's.
	commands func(context.Context, *Lab, site) ([2][]string, error)
}

// Names of the kinds that the report treats apart.
const (
	Ours    = "connect-proxy"
	Builtin = "consul connect proxy"
)

// login is the limit that a login shell gives. Programs that need more raise
// it, as all but stunnel do or are configured to.
const login = "1024"

// Kinds are all of them, in the order of the report.
func Kinds() []Kind {
	return []Kind{
		{Name: Ours, Agent: true, service: "ours", limit: login, find: findOurs, commands: oursCommands},
		{Name: Builtin, Agent: true, service: "builtin", limit: login, find: findBuiltin, commands: builtinCommands},
		{Name: "ghostunnel", service: "ghostunnel", limit: login, find: findGhostunnel, commands: ghostunnelCommands},
		{Name: "HAProxy", service: "haproxy", limit: login, find: findHAProxy, commands: haproxyCommands},
		{Name: "nginx stream", service: "nginx", limit: login, find: findNginx, commands: nginxCommands},
		{Name: "stunnel", Slow: true, service: "stunnel", limit: "hard", find: findStunnel, commands: stunnelCommands},
		{Name: "bare Go TLS", Reference: true, service: "bare", limit: login, find: findBare, commands: bareCommands},
	}
}

func findOurs(ctx context.Context, l *Lab) (string, error) {
	if err := l.goBuild(ctx, "connect-proxy", ".", ".", false); err != nil {
		return "", err
	}
	if err := l.needAgent(ctx); err != nil {
		return "", err
	}
	version, err := l.output(ctx, l.binary("connect-proxy"), "version")
	return "this tree: " + version, err
}

func oursCommands(_ context.Context, l *Lab, s site) (c [2][]string, err error) {
	return l.sidecars("ours", s, l.binary("connect-proxy")), nil
}

func findBuiltin(ctx context.Context, l *Lab) (string, error) {
	if err := l.needAgent(ctx); err != nil {
		return "", err
	}
	text, err := l.output(ctx, l.agent.binary, "version")
	first, _, _ := strings.Cut(text, " Revision")
	return first, err
}

func builtinCommands(_ context.Context, l *Lab, s site) (c [2][]string, err error) {
	return l.sidecars("builtin", s, l.agent.binary, "connect", "proxy"), nil
}

// sidecars are the two commands of a program with the flags of
// `consul connect proxy`.
func (l *Lab) sidecars(name string, s site, program ...string) [2][]string {
	client, server := l.services(name)
	with := func(service string) []string {
		return append(program[:len(program):len(program)], "-http-addr", s.agent, "-sidecar-for", service)
	}
	return [2][]string{with(server), with(client)}
}

func findGhostunnel(ctx context.Context, l *Lab) (string, error) {
	const pkg = "github.com/ghostunnel/ghostunnel"
	// Without cgo this release does not compile.
	if err := l.goBuild(ctx, "ghostunnel", "testdata/bench", pkg, true); err != nil {
		return "", err
	}
	version, err := l.output(ctx, "go", "list", "-C", l.Root+"/testdata/bench", "-m", "-f", "{{.Version}}", pkg)
	return "ghostunnel " + version, err
}

func ghostunnelCommands(_ context.Context, l *Lab, s site) (c [2][]string, err error) {
	ca := l.certificates
	with := func(side, cert string, listen int, target string, more ...string) []string {
		return append([]string{l.binary("ghostunnel"), side, "--listen", loopback(listen), "--target", target,
			"--cert", cert, "--key", cert, "--cacert", ca.Authority}, more...)
	}
	return [2][]string{
		with("server", ca.Server, s.between, l.app, "--allow-dns", clientName),
		with("client", ca.Client, s.listen, loopback(s.between), "--override-server-name", serverName, "--verify-dns", serverName),
	}, nil
}

func findBare(context.Context, *Lab) (string, error) { return "crypto/tls and io.Copy", nil }

func bareCommands(_ context.Context, l *Lab, s site) ([2][]string, error) {
	with := func(side, cert string, listen int, target string) []string {
		return []string{l.self, BareCommand, side, cert, l.certificates.Authority, loopback(listen), target}
	}
	return [2][]string{
		with("server", l.certificates.Server, s.between, l.app),
		with("client", l.certificates.Client, s.listen, loopback(s.between)),
	}, nil
}
