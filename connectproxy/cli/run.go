package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy"
	"connect-proxy/connectproxy/admin"
	"connect-proxy/connectproxy/agent"
	"connect-proxy/connectproxy/events"
	"connect-proxy/connectproxy/metrics"
	"connect-proxy/connectproxy/register"
)

// runProxy runs the proxy by its flags and the environment until ctx is done
// and connections have drained. SIGHUP goes unheeded but for the access log's file
// (reopenOnHangup): a changed configuration file is read without being asked for,
// and `systemctl reload` must not cut connections.
func runProxy(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	discardSignal(syscall.SIGHUP)
	return runProxyAnd(ctx, args, stdout, stderr, nil)
}

// runProxyAnd is runProxy, and has pulse told how the proxy is, as
// connectproxy.Options say.
func runProxyAnd(ctx context.Context, args []string, stdout, stderr io.Writer, pulse func(ready bool, reasons []string)) int {
	plan, problems := newPlan(ctx, args, os.Getenv, stderr)
	if len(problems) > 0 {
		return usage(stderr, problems...)
	}
	return plan.run(ctx, stdout, stderr, pulse)
}

// run runs the proxy until ctx is done and connections have drained.
func (p *plan) run(ctx context.Context, stdout, stderr io.Writer, pulse func(ready bool, reasons []string)) int {
	history := events.New()
	p.logger.RegisterSink(history)
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		defer newBallast().release()
	}
	defer serve(ctx, p.pprof)()
	agentClient, agentStatus := p.follow(ctx)
	defer agentClient.stop()
	manager := newServiceManager(p.logger)
	log := p.newAccessLog(stdout, stderr)
	defer log.Close(lastWords)
	defer reopenOnHangup(log)()
	adminAddr := adminAddress(p.options.adminAddr, p.adminName(), p.logger)
	proxy, err := connectproxy.New(connectproxy.Options{
		Source:       inDatacenter{p.source(), p.options.agent.datacenter},
		Client:       agentClient.Client,
		Admin:        adminAddr,
		ReadyAlone:   p.readyAlone(adminAddr),
		Events:       history,
		LogLevel:     logLevel{p.logger},
		Version:      version,
		DrainTimeout: p.drain,
		TLS:          p.tls,
		Register:     p.register,
		Resolvers:    resolvers(ctx, p.logger),
		Pulse:        both(manager.reporter(), pulse),
		Logger:       p.logger,
		LogDropped:   dropped(stderr),
		AccessLog:    log,

		AccessLogConnections: p.accessLog,

		Agent: agentStatus,

		MetricsNames: metrics.Names(p.options.metricsNames),
	})
	if err != nil {
		return usage(stderr, err.Error())
	}
	about := []any{"version", version, "mode", string(p.from.mode), "by", p.from.by, "open_files", maxOpenFiles()}
	if p.client != nil {
		about = append(about, "agent", p.agent.Address)
	}
	p.logger.Info("starting connect-proxy", about...)

	defer context.AfterFunc(ctx, manager.stopping)()
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

// both tells two; either may be nil.
func both(a, b func(bool, []string)) func(bool, []string) {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	return func(ready bool, reasons []string) {
		a(ready, reasons)
		b(ready, reasons)
	}
}

// plan is a command line that makes sense.
type plan struct {
	options options
	from    configSource
	agent   agent.Options
	drain   time.Duration
	nomad   bool       // Nomad has started the proxy
	tls     config.TLS // what flags say of it

	accessLog config.AccessLogConnections // likewise

	name     string         // of the admin pages' socket, where nothing else names it
	static   *config.Config // in flags mode
	register *register.Options
	client   *agent.Client
	pprof    *admin.Server
	logger   hclog.InterceptLogger
}

// newPlan weighs flags and environment, and names everything wrong with them at
// once. It starts nothing.
func newPlan(ctx context.Context, args []string, env lookupEnv, logs io.Writer) (*plan, []string) {
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
	p.from, more = p.options.configSource(fs, env)
	problems = append(problems, more...)
	if len(more) == 0 {
		problems = append(problems, p.options.unusableFlags(fs, p.from)...)
	}
	p.nomad = underNomad(env)
	problems = append(problems, p.operation(env, logs)...)
	p.agent, more = p.options.agent.settings(env)
	problems = append(problems, more...)

	if p.nomad && p.drain == 0 && p.from.mode == config.Flags {
		p.drain = nomadDrain
	}
	if p.from.mode == config.Flags {
		p.static, more = p.options.flagConfig(p.agent)
		problems = append(problems, more...)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	var err error
	if p.client, err = agent.NewClient(p.agent, p.logger); err != nil {
		return nil, []string{err.Error()}
	}
	if p.from.mode == config.Flags || p.from.mode == config.File {
		p.register, problems = p.registration(ctx)
	}
	return p, problems
}

// registration names the proxy as `consul connect proxy -register` does; nil where
// it is not to be registered. The file is read here once more than by its source, for
// its service's name.
func (p *plan) registration(ctx context.Context) (*register.Options, []string) {
	cfg := p.static
	if p.from.mode == config.File {
		var err error
		cfg, err = parseFile(ctx, p.options.configFile)
		switch {
		case err != nil && p.options.register:
			return nil, mistakes(err)
		case err != nil:
			return nil, nil // the source will say so
		}
	}
	switch {
	case p.options.register || cfg.RegistersApplication():
	case p.options.registerID != "":
		return nil, []string{registerIDAlone}
	default:
		return nil, nil
	}
	if cfg.Public == nil {
		return nil, []string{"-register: there is no public listener to register"}
	}
	name := cfg.Service + "-proxy"
	r := &register.Options{ID: name, Name: name, ApplicationID: cmp.Or(cfg.ServiceID, cfg.Service)}
	if p.options.registerID != "" {
		r.ID += "-" + p.options.registerID
		r.ApplicationID += "-" + p.options.registerID
	}
	if ip := net.ParseIP(cfg.Public.Bind.Host); ip == nil || !ip.IsUnspecified() {
		r.Address = cfg.Public.Bind.Host
	}
	return r, nil
}

// newLogger logs to standard error, where usage errors and Go's own last words
// go too: an agent keeps the two streams of a proxy in two files, and whoever
// looks for the reason of an exit must find it in one, in order.
func newLogger(level string, json bool, w io.Writer) (hclog.InterceptLogger, []string) {
	l, ok := parseLevel(level)
	if !ok {
		return hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard}), []string{
			fmt.Sprintf("-log-level: %s: give one of trace, debug, info, warn, error, off", level)}
	}
	o := hclog.LoggerOptions{Name: "connect-proxy", Level: l, JSONFormat: json, Output: w}
	if b, ok := w.(boundedLog); ok {
		b.SetNotice(func(n uint64) []byte { return missing(o, n) })
	}
	return hclog.NewInterceptLogger(&o), nil
}

func parseLevel(text string) (hclog.Level, bool) {
	name := strings.ToLower(text)
	if name == "err" { // Consul's spelling
		name = "error"
	}
	l := hclog.LevelFromString(name)
	return l, l != hclog.NoLevel
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
