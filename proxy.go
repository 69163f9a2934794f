package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy"
	"connect-proxy/connectproxy/admin"
)

// runProxy runs the proxy by its flags and the environment until ctx is done
// and connections have drained.
func runProxy(ctx context.Context, args []string, stderr io.Writer) int {
	plan, problems := newPlan(ctx, args, os.Getenv, stderr)
	if len(problems) > 0 {
		return usage(stderr, problems...)
	}
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		defer runtime.KeepAlive(ballast())
	}
	defer serve(ctx, plan.pprof)()
	defer plan.client.transport.CloseIdleConnections()
	defer plan.client.watchTLS(ctx, plan.agent)()
	proxy, err := connectproxy.New(connectproxy.Options{
		Source:       inDatacenter{plan.source(), plan.agent.datacenter},
		Client:       plan.client.Client,
		Admin:        plan.options.adminAddr,
		DrainTimeout: plan.drain,
		TLS:          plan.tls,
		Register:     plan.register,
		Logger:       plan.logger,
		LogDropped:   dropped(stderr),
		Agent:        func() connectproxy.AgentStatus { return plan.client.tls.status(plan.agent.address) },
	})
	if err != nil {
		return usage(stderr, err.Error())
	}
	plan.logger.Info("starting connect-proxy",
		"version", version, "mode", string(plan.from.mode), "by", plan.from.by,
		"agent", plan.agent.address, "open_files", openFiles())

	var invalid *config.Invalid
	switch err := proxy.Run(ctx); {
	case errors.As(err, &invalid):
		report(stderr, mistakes(err)...)
		return exitUsage
	case err != nil && ctx.Err() == nil:
		report(stderr, err.Error())
		return exitFailed
	}
	return exitDrained
}

// plan is a command line that makes sense.
type plan struct {
	options  options
	from     origin
	agent    agentSettings
	drain    time.Duration
	tls      config.TLS     // what flags say of it
	static   *config.Config // in flags mode
	register *connectproxy.RegisterOptions
	client   agentClient
	pprof    *admin.Server
	logger   hclog.Logger
}

// newPlan weighs flags and environment, and names everything wrong with them at
// once. It starts nothing.
func newPlan(ctx context.Context, args []string, env environ, logs io.Writer) (*plan, []string) {
	p := &plan{}
	fs := p.options.flagSet()
	fs.SetOutput(io.Discard)
	if err := fs.Parse(args); err != nil {
		return nil, []string{err.Error()}
	}
	var problems []string
	if fs.NArg() > 0 {
		problems = append(problems, fmt.Sprintf("%q is neither a flag nor a flag's value", fs.Arg(0)))
	}
	var more []string
	p.from, more = p.options.origin(fs, env)
	problems = append(problems, more...)
	if len(more) == 0 {
		problems = append(problems, p.options.misplaced(fs, p.from)...)
	}
	p.drain, more = p.options.drain()
	problems = append(problems, more...)
	p.tls, more = p.options.tls(env)
	problems = append(problems, more...)
	p.agent, more = p.options.agent.settings(env)
	problems = append(problems, more...)
	p.logger, more = newLogger(p.options.logLevel, p.options.logJSON, logs)
	problems = append(problems, more...)

	if p.from.mode == config.Flags {
		p.static, more = p.options.flagConfig(p.agent)
		problems = append(problems, more...)
	}
	var err error
	if p.pprof, err = profiles(p.options.pprofAddr, p.logger); err != nil {
		problems = append(problems, "-pprof-addr: "+err.Error())
	}
	if len(problems) > 0 {
		return nil, problems
	}
	if p.client, err = newClient(p.agent, p.logger); err != nil {
		return nil, []string{err.Error()}
	}
	if p.options.register {
		p.register, problems = p.registration(ctx)
	}
	return p, problems
}

// source is where the configurations come from from now on.
func (p *plan) source() config.Source {
	switch p.from.mode {
	case config.Flags:
		return &config.Static{Config: p.static}
	case config.File:
		return config.NewFile(p.options.configFile, p.logger.Named("config"))
	}
	return config.NewAgent(config.AgentOptions{
		Client:     p.client.Client,
		Address:    p.agent.address,
		ProxyID:    p.from.proxyID,
		SidecarFor: p.from.sidecarFor,
		Managed:    p.from.mode == config.Managed,
		Logger:     p.logger.Named("config"),
	})
}

// registration names the proxy as `consul connect proxy -register` does. The
// file is read here once more than by its source, for its service's name.
func (p *plan) registration(ctx context.Context) (*connectproxy.RegisterOptions, []string) {
	cfg := p.static
	if p.from.mode == config.File {
		var err error
		if cfg, err = parseFile(ctx, p.options.configFile); err != nil {
			return nil, mistakes(err)
		}
	}
	if cfg.Public == nil {
		return nil, []string{"-register: there is no public listener to register"}
	}
	name := cfg.Service + "-proxy"
	r := &connectproxy.RegisterOptions{ID: name, Name: name}
	if p.options.registerID != "" {
		r.ID += "-" + p.options.registerID
	}
	if ip := net.ParseIP(cfg.Public.Bind.Host); ip == nil || !ip.IsUnspecified() {
		r.Address = cfg.Public.Bind.Host
	}
	return r, nil
}

// newLogger logs to standard error, where usage errors and Go's own last words
// go too: an agent keeps the two streams of a proxy in two files, and whoever
// looks for the reason of an exit must find it in one, in order.
func newLogger(level string, json bool, w io.Writer) (hclog.Logger, []string) {
	name := strings.ToLower(level)
	if name == "err" { // Consul's spelling
		name = "error"
	}
	l := hclog.LevelFromString(name)
	if l == hclog.NoLevel {
		return hclog.NewNullLogger(), []string{
			fmt.Sprintf("-log-level: %s: give one of trace, debug, info, warn, error, off", level)}
	}
	o := hclog.LoggerOptions{Name: "connect-proxy", Level: l, JSONFormat: json, Output: w}
	if b, ok := w.(boundedLog); ok {
		b.SetNotice(func(n uint64) []byte { return missing(o, n) })
	}
	return hclog.New(&o), nil
}

// boundedLog is a log that drops what nobody reads, as main's does.
type boundedLog interface {
	SetNotice(func(dropped uint64) []byte)
	Dropped() uint64
}

// missing is the line, in the log's format, that stands where others are
// missing. It is said at any level: it is about the log itself.
func missing(o hclog.LoggerOptions, n uint64) []byte {
	var line bytes.Buffer
	o.Output, o.Level = &line, hclog.Warn
	hclog.New(&o).Warn("log lines are missing here: they could not be written in time", "dropped", n)
	return line.Bytes()
}

// dropped counts the lines that w had to drop; nil where it never does.
func dropped(w io.Writer) func() uint64 {
	if b, ok := w.(boundedLog); ok {
		return b.Dropped
	}
	return nil
}

// ballast is memory that nobody touches, so that it takes none of the machine's.
// The collector counts it, and waits for as much garbage again as it counts:
// handshakes leave some fifty kilobytes each, on a heap of two megabytes. A
// higher GOGC would do the same for a small heap, and have one that is large
// because of many connections grow to several times its size.
func ballast() []byte { return make([]byte, 8<<20) }
