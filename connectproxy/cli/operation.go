package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agent"
	"connect-proxy/connectproxy/metrics"
)

// operation reads what says how the proxy is operated, whatever it runs, and names
// every mistake in that.
func (p *plan) operation(env lookupEnv, logs io.Writer) (problems []string) {
	var more []string
	p.drain, more = p.options.drain()
	problems = append(problems, more...)
	p.tls, more = p.options.tls(env)
	problems = append(problems, more...)
	p.accessLog, more = p.options.accessLogConnections(env)
	problems = append(problems, more...)
	p.logger, more = newLogger(p.options.logLevel, p.options.logJSON, logs)
	problems = append(problems, more...)
	switch metrics.Names(p.options.metricsNames) {
	case metrics.NamesNative, metrics.NamesEnvoy, metrics.NamesBoth:
	default:
		problems = append(problems, fmt.Sprintf("-metrics-names: %s: give one of native, envoy, both", p.options.metricsNames))
	}
	var err error
	if p.pprof, err = profiles(p.options.pprofAddr, p.logger); err != nil {
		problems = append(problems, "-pprof-addr: "+err.Error())
	}
	return problems
}

// followedAgent is the client of the agent while the proxy runs.
type followedAgent struct {
	*api.Client // nil without an agent
	stop        func()
}

// follow keeps the client of the agent current, where there is one.
func (p *plan) follow(ctx context.Context) (c followedAgent, status func() agent.Status) {
	if p.client == nil {
		return followedAgent{stop: func() {}}, nil
	}
	stop := p.client.FollowTLS(ctx)
	return followedAgent{p.client.Client, func() { stop(); p.client.CloseIdleConnections() }}, p.client.ConnectionStatus
}
