package main

import (
	"cmp"
	"flag"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"connect-proxy/config"
)

// environ looks a variable up; an empty value is an unset one, since an agent
// sets all of CONSUL_* for the proxies it launches, most of them to nothing.
type environ func(name string) string

// origin is where the configuration comes from: exactly one of four.
type origin struct {
	mode config.Mode
	// proxyID or sidecarFor, in the modes that ask the agent.
	proxyID, sidecarFor string
	// by is the flag or variable that decided, for messages.
	by string
}

// given lists those of names that stand on the command line, in that order.
func given(fs *flag.FlagSet, names ...string) []string {
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	var found []string
	for _, n := range names {
		if set[n] {
			found = append(found, "-"+n)
		}
	}
	return found
}

// origin decides which source is meant. A flag beats the environment, and of
// the environment CONNECT_PROXY_ID wins: the agent sets it itself, while
// CONNECT_SIDECAR_FOR can only have been inherited.
func (o *options) origin(fs *flag.FlagSet, env environ) (origin, []string) {
	sources := given(fs, "proxy-id", "sidecar-for", "config-file", "service")
	if len(sources) > 1 {
		return origin{}, []string{strings.Join(sources, " and ") + " exclude each other: each says by itself what to run"}
	}
	managedID := env("CONNECT_PROXY_ID")
	switch {
	case o.proxyID != "" && o.proxyID == managedID:
		return origin{mode: config.Managed, proxyID: o.proxyID, by: "-proxy-id"}, nil
	case o.proxyID != "":
		return origin{mode: config.Registered, proxyID: o.proxyID, by: "-proxy-id"}, nil
	case o.sidecarFor != "":
		return origin{mode: config.Registered, sidecarFor: o.sidecarFor, by: "-sidecar-for"}, nil
	case o.configFile != "":
		return origin{mode: config.File, by: "-config-file"}, nil
	case o.service != "":
		return origin{mode: config.Flags, by: "-service"}, nil
	case len(sources) == 1:
		return origin{}, []string{sources[0] + " is empty: give it a value"}
	case managedID != "":
		return origin{mode: config.Managed, proxyID: managedID, by: "CONNECT_PROXY_ID"}, nil
	case env("CONNECT_SIDECAR_FOR") != "":
		return origin{mode: config.Registered, sidecarFor: env("CONNECT_SIDECAR_FOR"), by: "CONNECT_SIDECAR_FOR"}, nil
	}
	if orphans := given(fs, "service-addr", "listen", "upstream"); len(orphans) > 0 {
		return origin{}, []string{strings.Join(orphans, ", ") + " without -service: name the service that the proxy represents"}
	}
	return origin{}, []string{"nothing says what to run: give one of -proxy-id, -sidecar-for, -config-file or -service"}
}

// misplaced names flags that the source in use gives no meaning to: to ignore
// them would leave a port closed that its owner believes open.
func (o *options) misplaced(fs *flag.FlagSet, from origin) []string {
	var problems []string
	if from.mode != config.Flags {
		for _, name := range given(fs, "service-addr", "listen", "upstream") {
			problems = append(problems, fmt.Sprintf("%s and %s exclude each other: %s goes with -service", name, from.by, name))
		}
	}
	if o.register && from.mode != config.Flags && from.mode != config.File {
		problems = append(problems, fmt.Sprintf("-register and %s exclude each other: that proxy is registered already", from.by))
	}
	if o.registerID != "" && !o.register {
		problems = append(problems, "-register-id without -register: give both")
	}
	return problems
}

// drain is -drain-timeout; 0 leaves it to the configuration.
func (o *options) drain() (time.Duration, []string) {
	if o.drainTimeout == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(o.drainTimeout)
	if err != nil || d <= 0 {
		return 0, []string{fmt.Sprintf("-drain-timeout: %s: give a positive duration with its unit, as 30s", o.drainTimeout)}
	}
	return d, nil
}

// tls is what flags and environment say of TLS; what is empty is left to the
// configuration.
func (o *options) tls(env environ) (config.TLS, []string) {
	t := config.TLS{
		Records:     config.TLSRecords(cmp.Or(o.tlsRecords, env("CONNECT_PROXY_TLS_RECORDS"))),
		KeyExchange: config.TLSKeyExchange(cmp.Or(o.tlsKeyExchange, env("CONNECT_PROXY_TLS_KEY_EXCHANGE"))),
	}
	var problems []string
	for _, m := range t.Validate() {
		problems = append(problems, strings.NewReplacer(
			"tls_records", "-tls-records", "tls_key_exchange", "-tls-key-exchange").Replace(m.String()))
	}
	return t, problems
}

// flagConfig is the configuration that the flags alone describe, or every
// mistake in them.
func (o *options) flagConfig(s agentSettings) (*config.Config, []string) {
	var problems []string
	cfg := config.Config{Mode: config.Flags, Service: o.service, Namespace: s.namespace, Partition: s.partition}
	switch {
	case o.listen != "" && o.serviceAddr == "":
		problems = append(problems, "-listen without -service-addr: say where the service itself listens")
	case o.listen == "" && o.serviceAddr != "":
		problems = append(problems, "-service-addr without -listen: say where connections from the mesh are accepted")
	case o.listen == "" && o.register:
		problems = append(problems, "-register without -listen: there is no public listener to register")
	case o.listen == "" && len(o.upstreams) == 0:
		problems = append(problems, "-service without -listen or -upstream: there is nothing to do")
	}
	if o.listen != "" && o.serviceAddr != "" {
		cfg.Public = &config.Public{}
		problems = append(problems, parseInto(&cfg.Public.Bind, "-listen", o.listen)...)
		problems = append(problems, parseInto(&cfg.Public.Local, "-service-addr", o.serviceAddr)...)
	}
	for _, text := range o.upstreams {
		u, err := config.ParseUpstream(text)
		if err != nil {
			problems = append(problems, fmt.Sprintf("-upstream %s", err))
			continue
		}
		cfg.Upstreams = append(cfg.Upstreams, u)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	cfg = cfg.WithDefaults()
	for _, m := range cfg.Validate() {
		problems = append(problems, o.inFlags(m.String()))
	}
	return &cfg, problems
}

var upstreamField = regexp.MustCompile(`upstreams\[(\d+)\](?:\.\w+)*`)

// inFlags speaks of flags where a mistake speaks of the settings of a file.
func (o *options) inFlags(mistake string) string {
	mistake = upstreamField.ReplaceAllStringFunc(mistake, func(field string) string {
		i, err := strconv.Atoi(upstreamField.FindStringSubmatch(field)[1])
		if err != nil || i >= len(o.upstreams) {
			return field
		}
		return "-upstream " + o.upstreams[i]
	})
	return strings.NewReplacer(
		"public_listener.local_service_address", "-service-addr",
		"public_listener.bind_address", "-listen",
		"public_listener.bind_port", "-listen",
		"public_listener.bind_socket_path", "-listen",
		"service_name", "-service",
	).Replace(mistake)
}

// parseInto reads an address flag into to.
func parseInto(to *config.Address, name, text string) []string {
	a, err := config.ParseAddress(text)
	if err != nil {
		return []string{fmt.Sprintf("%s %s", name, err)}
	}
	*to = a
	return nil
}
