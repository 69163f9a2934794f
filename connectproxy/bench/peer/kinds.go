//go:build linux

package peer

import (
	"context"
	"path/filepath"
	"strings"
)

// Kind is one of the programs that are compared.
type Kind struct {
	// Name is for people and for the command line.
	Name string
	// Reference is what no user would choose: it is shown and does not count as
	// a peer.
	Reference bool
	// Variant is ours once more, of another build or with other arguments.
	Variant bool
	// Choice is such a variant that shows what a choice costs, in the rows for
	// it only.
	Choice bool
	// Agent says that the pair works with the Consul agent.
	Agent bool
	// Hybrid says that its two sides prefer the hybrid key exchange.
	Hybrid bool
	// Observed says that its metrics are asked for while it is measured, and every
	// connection is recorded.
	Observed bool
	// Slow is a kind that opens too few connections a second to be asked for
	// thousands.
	Slow bool

	// service is the name in files and in the agent.
	service string
	// limit is the soft limit of descriptors at the start.
	limit string
	// find gets the program ready and gives its version.
	find func(context.Context, *Lab) (string, error)
	// program is a command that takes the flags of `consul connect proxy`; nil
	// for a kind without an agent.
	program func(*Lab) []string
	// commands are those of the server's side and the client's, of a kind
	// without a program.
	commands func(context.Context, *Lab, site) ([2][]string, error)
}

// Names of the kinds that the report treats apart.
const (
	Ours    = "connect-proxy"
	Builtin = "consul connect proxy"
)

// login is the limit that a login shell gives. Programs that need more raise
// it, as all but Envoy and stunnel do or are configured to.
const login = "1024"

// Kinds are all of them, in the order of the report.
func Kinds() []Kind {
	return []Kind{
		{Name: Ours, Agent: true, service: "ours", limit: login, find: findOurs, program: oursProgram},
		{Name: Builtin, Agent: true, service: "builtin", limit: login, find: findBuiltin, program: builtinProgram},
		{Name: "Envoy", service: "envoy", limit: "hard", find: findEnvoy, commands: envoyCommands},
		{Name: "ghostunnel", service: "ghostunnel", limit: login, find: findGhostunnel, commands: ghostunnelCommands},
		{Name: "HAProxy", service: "haproxy", limit: login, find: findHAProxy, commands: haproxyCommands},
		{Name: "nginx stream", service: "nginx", limit: login, find: findNginx, commands: nginxCommands},
		{Name: "stunnel", Slow: true, service: "stunnel", limit: "hard", find: findStunnel, commands: stunnelCommands},
		{Name: "bare Go TLS", Reference: true, service: "bare", limit: login, find: findBare, commands: bareCommands},
	}
}

func findOurs(ctx context.Context, l *Lab) (string, error) {
	if err := l.goBuild(ctx, Ours, l.Root, ".", false); err != nil {
		return "", err
	}
	if err := l.needAgent(ctx); err != nil {
		return "", err
	}
	version, err := l.output(ctx, l.binary(Ours), "version")
	return "this tree: " + version, err
}

func oursProgram(l *Lab) []string { return []string{l.binary(Ours)} }

func findBuiltin(ctx context.Context, l *Lab) (string, error) {
	if err := l.needAgent(ctx); err != nil {
		return "", err
	}
	text, err := l.output(ctx, l.agent.binary, "version")
	first, _, _ := strings.Cut(text, " Revision")
	return first, err
}

func builtinProgram(l *Lab) []string { return []string{l.agent.binary, "connect", "proxy"} }

// sidecar is the command of a kind with a program for one service.
func (k Kind) sidecar(l *Lab, agent, service string) []string {
	command := append(k.program(l), "-http-addr", agent, "-sidecar-for", service)
	if k.Observed {
		command = append(command, l.observed(service)...)
	}
	return command
}

// commandsAt are those of both sides.
func (k Kind) commandsAt(ctx context.Context, l *Lab, s site) ([2][]string, error) {
	if k.program == nil {
		return k.commands(ctx, l, s)
	}
	client, server := services(k.service)
	return [2][]string{k.sidecar(l, s.agent, server), k.sidecar(l, s.agent, client)}, nil
}

func findGhostunnel(ctx context.Context, l *Lab) (string, error) {
	const pkg = "github.com/ghostunnel/ghostunnel"
	// Without cgo this release does not compile.
	if err := l.goBuild(ctx, "ghostunnel", filepath.Join(l.Root, "testdata", "bench"), pkg, true); err != nil {
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
