package connectproxy

import (
	"context"
	"fmt"
	"os"
	"strings"

	"connect-proxy/config"
	"connect-proxy/connectproxy/admin"
	"connect-proxy/connectproxy/metrics"
	"connect-proxy/connectproxy/statsd"
)

// telemetry is what hands metrics out besides the admin pages. It belongs to the
// loop.
type telemetry struct {
	// running are the tasks by all that they depend on.
	running map[string]*task
	// ending were told to, and may still send something.
	ending []*task
}

// updateTelemetry puts another configuration of where metrics go in force and
// returns what of it cannot be honoured. It never blocks.
func (l *loop) updateTelemetry(base context.Context, t config.Telemetry) []string {
	sinks, problems := t.Sinks()
	wanted := make(map[string]func(context.Context) error)
	for _, s := range sinks {
		builtIn := config.BuiltInTelemetry{}
		if s.BuiltIn {
			builtIn = t.BuiltIn
		}
		wanted[fmt.Sprintf("%+v %+v", s, builtIn)] = l.sender(s, builtIn).Run
	}
	if t.PrometheusAddress != "" {
		const name = "envoy_prometheus_bind_addr"
		notRead := func(page, problem string) { l.pageNotRead(page+" of "+name, problem) }
		page, err := admin.New(admin.Options{
			Name: name, Address: t.PrometheusAddress, AllowRemote: true, Logger: l.logger,
			Pages: admin.Pages{"GET /metrics": l.metrics.Handler(notRead)},
		})
		if err != nil {
			problems = append(problems, err.Error()+"; metrics are not served there")
		} else {
			wanted[t.PrometheusAddress] = page.Run
		}
	}
	l.telemetry.follow(base, wanted)
	return problems
}

// follow ends what is not wanted any more and starts what is new.
func (t *telemetry) follow(base context.Context, wanted map[string]func(context.Context) error) {
	var left []*task
	for _, task := range t.ending {
		if !task.ended() {
			left = append(left, task)
		}
	}
	t.ending = left
	for key, task := range t.running {
		if wanted[key] == nil {
			task.cancel()
			t.ending = append(t.ending, task)
			delete(t.running, key)
		}
	}
	for key, run := range wanted {
		if t.running[key] == nil {
			if t.running == nil {
				t.running = make(map[string]*task)
			}
			t.running[key] = startTask(base, run)
		}
	}
}

// stop ends everything and waits for it.
func (t *telemetry) stop() {
	t.follow(context.Background(), nil) //nolint:forbidigo // it starts nothing
	for _, task := range t.ending {
		task.stop()
	}
	t.ending = nil
}

func (l *loop) sender(s config.Sink, b config.BuiltInTelemetry) *statsd.Sender {
	o := statsd.Options{
		Name: s.Key, Network: s.Network, Address: s.Address, Tagged: s.Tagged, Interval: s.Interval,
		Prefix: "envoy", Samples: l.metrics.Envoy, Logger: l.logger,
	}
	if s.BuiltIn {
		names := metrics.BuiltIn{Prefix: b.Prefix, Allowed: allowed(b)}
		if !b.DisableHostname {
			names.Hostname, _ = os.Hostname()
		}
		o.Prefix, o.Tags = b.Prefix, b.DogstatsdTags
		o.Samples = func() []metrics.Sample { return names.Samples(l.metrics) }
	}
	return statsd.New(o)
}

// allowed says by name what the built-in proxy would send.
func allowed(b config.BuiltInTelemetry) func(string) bool {
	longest := func(name string, prefixes []string) int {
		n := -1
		for _, p := range prefixes {
			if strings.HasPrefix(name, p) {
				n = max(n, len(p))
			}
		}
		return n
	}
	return func(name string) bool {
		yes, no := longest(name, b.AllowedPrefixes), longest(name, b.BlockedPrefixes)
		if yes == no {
			return b.FilterDefault && no < 0
		}
		return yes > no
	}
}

// metricSettings are the settings of what is shown, as they are configured now.
func (p *Proxy) metricSettings() metrics.Settings {
	s := metrics.Settings{Names: p.o.MetricsNames}
	c := p.published.Load().config
	if c == nil {
		return s
	}
	for _, tag := range c.Telemetry.Tags {
		name, value, found := strings.Cut(tag, "=")
		if !found {
			value = "1"
		}
		if name != "" {
			s.Tags = append(s.Tags, metrics.Tag{Name: strings.ToLower(name), Value: value})
		}
	}
	return s
}
