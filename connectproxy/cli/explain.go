package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/connectproxy/agent"
	"connect-proxy/connectproxy/identity"
)

const explainHelp = `Usage: connect-proxy explain -to SERVICE [-from SERVICE] [agent flags] [-o json]

  Walks the way of a connection from one service to another, step by step: the
  token, the leaf certificate, the roots, the discovery chain, intentions, the
  instances, and a dial of each instance with the identity it must prove. It says
  where the way ends, and what to type next. It needs an agent and no running
  proxy. -from may be left out where one proxy runs here, or where
  CONNECT_PROXY_ADMIN names one: it is its service.

  It sends nothing to the far application. The dials are seen there as connections
  that end after a second, in which each instance can say that it refuses.

  Exit code 0: a connection can be made. 1: it cannot. 2: wrong usage.`

// Times that a step may take.
const (
	explainStep = 10 * time.Second
	explainDial = 5 * time.Second
	// explainDoubt is how long the instances are asked for in vain: an error that
	// passes is no finding.
	explainDoubt = 2 * time.Second
	// mostExplains is how many instances are dialled.
	mostExplains = 20
)

// explanation is the walk from one service to another.
type explanation struct {
	findings
	from, to string
	client   *api.Client
	address  string // the agent's
	identity *identity.Identity
	// callees are the services that the chain of to leads to, to itself where there
	// is none, and allowed those that the agent here allows the caller.
	callees []string
	allowed map[string]bool
	// unsure reports that each instance that was reached has ended the connection by
	// itself.
	unsure bool
}

func runExplain(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o adminFlags
	var flags agentFlags
	e := &explanation{}
	fs := explainFlags(e, &o, &flags)
	fs.SetOutput(io.Discard)
	if err := fs.Parse(args); err != nil {
		return usage(stderr, "explain: "+err.Error())
	}
	settings, problems := flags.settings(os.Getenv)
	problems = append(problems, o.problems()...)
	if e.to == "" {
		problems = append(problems, "explain: say where a connection goes by -to")
	}
	if e.from == "" && len(problems) == 0 {
		if e.from = ownService(ctx); e.from == "" {
			problems = append(problems, "explain: say who calls by -from: there is not exactly one running proxy that would tell")
		}
	}
	if len(problems) > 0 {
		return usage(stderr, problems...)
	}
	client, err := agent.NewClient(settings, hclog.NewNullLogger())
	if err != nil {
		return usage(stderr, err.Error())
	}
	defer client.CloseIdleConnections()
	e.client, e.address = client.Client, settings.Address
	e.walk(ctx, settings)
	return e.show(&o, stdout)
}

// explainFlags are those of the command.
func explainFlags(e *explanation, o *adminFlags, a *agentFlags) *flag.FlagSet {
	fs := flag.NewFlagSet("explain", flag.ContinueOnError)
	fs.StringVar(&e.to, "to", "", "The `service` that is called.")
	fs.StringVar(&e.from, "from", "", "The `service` that calls.")
	o.format(fs)
	a.flags(fs)
	return fs
}

// ownService is the one of the only proxy that runs here, or empty.
func ownService(ctx context.Context) string {
	in, _, _ := inspect(ctx, "explain", nil, io.Discard, io.Discard, nil)
	if in == nil {
		return ""
	}
	v, err := in.view()
	if err != nil {
		return ""
	}
	return v.Proxy.Service
}

func (e *explanation) show(o *adminFlags, stdout io.Writer) int {
	code := exitDrained
	if e.failed() {
		code = exitFailed
	}
	if o.json() {
		if printJSON(stdout, map[string]any{"from": e.from, "to": e.to, "reachable": code == exitDrained, "findings": e.findings}) != exitDrained {
			return exitFailed
		}
		return code
	}
	fmt.Fprintf(stdout, "From %s to %s\n\n", printable(e.from), printable(e.to))
	e.print(stdout)
	verdict := "can reach %s."
	switch {
	case code != exitDrained:
		verdict = "cannot reach %s: see the lines with ×."
	case e.unsure:
		verdict = "can reach the proxy of %s: see the lines with !."
	}
	fmt.Fprintf(stdout, "\n%s "+verdict+"\n", printable(e.from), printable(e.to))
	return code
}

// walk takes the steps in the order of a connection, until one is in vain.
func (e *explanation) walk(ctx context.Context, s agent.Options) {
	for _, step := range []func(context.Context) bool{
		func(ctx context.Context) bool { return e.agent(ctx, s) },
		e.leaf, e.chain,
	} {
		bounded, cancel := context.WithTimeout(ctx, explainStep)
		ok := step(bounded)
		cancel()
		if !ok {
			return
		}
	}
	e.dials(ctx)
}

func (e *explanation) query(ctx context.Context) *api.QueryOptions {
	return (&api.QueryOptions{}).WithContext(ctx)
}

// agent asks whether there is one, and whether the token is one.
func (e *explanation) agent(ctx context.Context, s agent.Options) bool {
	leader, err := e.client.Status().LeaderWithQueryOptions(e.query(ctx))
	switch {
	case err != nil:
		e.add("agent", failing, "is it up, and is -http-addr (CONSUL_HTTP_ADDR) right? "+e.curlCommand("/v1/status/leader"),
			"the agent at %s cannot be asked: %v", s.Address, err)
		return false
	case leader == "":
		e.add("agent", failing, "wait for the election, or look at: consul operator raft list-peers", "the agent at %s answers, its cluster has no leader", s.Address)
		return false
	}
	e.add("agent", good, "", "the agent at %s answers, the leader is %s", s.Address, leader)
	if s.Token == "" && s.TokenFile == "" {
		e.add("token", good, "", "none is given: what anonymous may do counts")
		return true
	}
	token, _, err := e.client.ACL().TokenReadSelf(e.query(ctx))
	var status api.StatusError
	switch {
	case err == nil:
		e.add("token", good, "", "known as %s (%s)", token.AccessorID, orElse(token.Description, "without a description"))
	case errors.As(err, &status) && status.Code == http.StatusUnauthorized:
		e.add("token", good, "", "ACLs are off: the token is not looked at")
	default:
		e.add("token", failing, "consul acl token list", "the token is not known: %v", err)
		return false
	}
	return true
}

// curlCommand is what to type to ask the agent oneself.
func (e *explanation) curlCommand(path string) string {
	if socket, ok := strings.CutPrefix(e.address, "unix://"); ok {
		return "curl --unix-socket " + socket + " http://agent" + path
	}
	return "curl " + e.address + path
}

// allow is what to type so that the caller may call a service.
func (e *explanation) allow(service string) string {
	return fmt.Sprintf("consul intention create -allow %s %s", e.from, service)
}

// chain tells where the discovery chain leads, where the agent knows such.
func (e *explanation) chain(ctx context.Context) bool {
	answer, _, err := e.client.DiscoveryChain().Get(e.to, nil, e.query(ctx))
	e.callees = []string{e.to}
	switch {
	case (err != nil || answer.Chain.Default) && !e.exists(ctx):
		e.add("destination", failing, "consul catalog services; connect-proxy -service "+e.to+" -service-addr ADDRESS -listen ADDRESS -register",
			"no service of the name %s is registered, or the token may not see it (service:read on %s and node:read)", e.to, e.to)
		return false
	case err != nil:
		e.add("destination", notice, "nothing, where the agent is older; else "+e.curlCommand("/v1/discovery-chain/"+e.to), "no discovery chain, which agents before 1.6 do not have: %v", err)
	case answer.Chain.Default:
		e.add("destination", good, "", "%s has no service-resolver, -splitter or -router", e.to)
	default:
		e.callees = nil
		for _, t := range answer.Chain.Targets {
			if !slices.Contains(e.callees, t.Service) {
				e.callees = append(e.callees, t.Service)
			}
			e.add("destination", good, "", "the discovery chain of protocol %s leads to %s in %s", answer.Chain.Protocol, t.Service, t.Datacenter)
		}
	}
	e.intentions(ctx)
	return true
}

// exists reports whether the catalog has the destination, with a proxy or without.
// Where it cannot be asked, what follows says why.
func (e *explanation) exists(ctx context.Context) bool {
	connect, _, err := e.client.Health().Connect(e.to, "", false, e.query(ctx))
	if err != nil || len(connect) > 0 {
		return true
	}
	plain, _, err := e.client.Health().Service(e.to, "", false, e.query(ctx))
	return err != nil || len(plain) > 0
}

// intentions asks what the far sides will be told about the caller. Those of the
// services that the chain leads to count, not those of its name.
func (e *explanation) intentions(ctx context.Context) {
	e.allowed = make(map[string]bool)
	slices.Sort(e.callees)
	var denied []string
	for _, service := range e.callees {
		allowed, _, err := e.client.Connect().IntentionCheck(&api.IntentionCheck{Source: e.from, Destination: service, SourceType: api.IntentionSourceConsul}, e.query(ctx))
		switch {
		case err != nil:
			e.add("intention", notice, "the dial below shows what it comes to; the token needs intentions:read on "+service, "not to be had: %v", err)
		case allowed:
			e.allowed[service] = true
			e.add("intention", good, "", "%s may call %s", e.from, service)
		default:
			denied = append(denied, service)
		}
	}
	grade := failing
	if len(denied) < len(e.callees) {
		grade = notice // another one is reached
	}
	for _, service := range denied {
		e.add("intention", grade, e.allow(service), "%s may not call %s", e.from, service)
	}
}
