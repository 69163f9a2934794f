package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// DefaultFlushInterval is how often metrics are sent where nothing is said: as
// Envoy and the built-in proxy do.
const DefaultFlushInterval = 5 * time.Second

// Telemetry says where metrics are sent, and where else they can be fetched.
type Telemetry struct {
	// PrometheusAddress is host:port of a further page for Prometheus; empty means
	// none.
	PrometheusAddress string
	// StatsdURL and DogstatsdURL are udp://host:port or unix:///path, or name a
	// variable of the environment; empty means none. Sinks reads them.
	StatsdURL, DogstatsdURL string
	// Tags are labels for what has Envoy's names, as "name=value"; a name alone has
	// the value 1.
	Tags []string
	// FlushInterval is how often metrics are sent; zero means
	// DefaultFlushInterval.
	FlushInterval time.Duration
	// BuiltIn is what Consul's built-in proxy is told by the agent that launches
	// it.
	BuiltIn BuiltInTelemetry
}

// BuiltInTelemetry says where and how metrics are sent under the names of
// Consul's built-in proxy.
type BuiltInTelemetry struct {
	// StatsdAddress, StatsiteAddress and DogstatsdAddress are host:port; empty
	// means none.
	StatsdAddress, StatsiteAddress, DogstatsdAddress string
	// DogstatsdTags are added to all that goes to DogstatsdAddress.
	DogstatsdTags []string
	// Prefix begins each name.
	Prefix string
	// DisableHostname leaves the machine's name out of gauges.
	DisableHostname bool
	// AllowedPrefixes and BlockedPrefixes say what is sent; the longest that fits a
	// name counts.
	AllowedPrefixes, BlockedPrefixes []string
	// FilterDefault is set if names that none of these fits are sent.
	FilterDefault bool
}

// telemetryKeys stand at the top of a file, and in the opaque configuration of a
// proxy that an agent knows. The names are those that Consul's users set for
// Envoy.
var telemetryKeys = keys[Config]{
	"envoy_prometheus_bind_addr": into(func(c *Config) *string { return &c.Telemetry.PrometheusAddress }, value.text),
	"envoy_statsd_url":           into(func(c *Config) *string { return &c.Telemetry.StatsdURL }, value.text),
	"envoy_dogstatsd_url":        into(func(c *Config) *string { return &c.Telemetry.DogstatsdURL }, value.text),
	"envoy_stats_tags":           into(func(c *Config) *[]string { return &c.Telemetry.Tags }, value.texts),
	"envoy_stats_flush_interval": timed(func(c *Config) *time.Duration { return &c.Telemetry.FlushInterval }, shortest, longest),
}

// builtInKeys stand in the opaque configuration alone, where agents that launch
// proxies put them.
var builtInKeys = keys[Config]{"telemetry": {block: keys[Config]{
	"statsd_address":   into(func(c *Config) *string { return &c.Telemetry.BuiltIn.StatsdAddress }, value.text),
	"statsite_address": into(func(c *Config) *string { return &c.Telemetry.BuiltIn.StatsiteAddress }, value.text),
	"dogstatsd_addr":   into(func(c *Config) *string { return &c.Telemetry.BuiltIn.DogstatsdAddress }, value.text),
	"dogstatsd_tags":   into(func(c *Config) *[]string { return &c.Telemetry.BuiltIn.DogstatsdTags }, value.texts),
	"metrics_prefix":   into(func(c *Config) *string { return &c.Telemetry.BuiltIn.Prefix }, value.text),
	"disable_hostname": into(func(c *Config) *bool { return &c.Telemetry.BuiltIn.DisableHostname }, value.yesNo),
	"filter_default":   into(func(c *Config) *bool { return &c.Telemetry.BuiltIn.FilterDefault }, value.yesNo),
	"allowed_prefixes": into(func(c *Config) *[]string { return &c.Telemetry.BuiltIn.AllowedPrefixes }, value.texts),
	"blocked_prefixes": into(func(c *Config) *[]string { return &c.Telemetry.BuiltIn.BlockedPrefixes }, value.texts),
}}}

// telemetryNames are builtInKeys', with what Consul's agents know besides.
var telemetryNames = keyTree{"telemetry": builtInKeys["telemetry"].block.names().with(keyTree{
	"prometheus_retention_time": nil, "circonus_api_app": nil, "circonus_apiurl": nil, "circonus_broker_id": nil,
	"circonus_broker_select_tag": nil, "circonus_check_display_name": nil, "circonus_check_force_metric_activation": nil,
	"circonus_check_id": nil, "circonus_check_instance_id": nil, "circonus_check_search_tag": nil, "circonus_check_tags": nil,
	"circonus_submission_interval": nil,
})}

// Sink is where metrics are sent. It is comparable.
type Sink struct {
	// Key is the setting that names it.
	Key string
	// Network is "udp", "tcp" or "unixgram". Address is HOST:PORT, or a socket's path.
	Network, Address string
	// Tagged is set for one that takes tags, as Datadog's does.
	Tagged bool
	// BuiltIn is set for one that gets the names of Consul's built-in proxy; the
	// others get Envoy's.
	BuiltIn bool
	// Interval is the time between two sendings, never zero.
	Interval time.Duration
}

// Sinks returns where metrics are to be sent, and a sentence for each setting
// that cannot be used. It reads the variables of the environment that they name.
func (t Telemetry) Sinks() (sinks []Sink, problems []string) {
	interval := cmp.Or(t.FlushInterval, DefaultFlushInterval)
	for _, s := range []struct {
		key, url string
		tagged   bool
	}{{"envoy_statsd_url", t.StatsdURL, false}, {"envoy_dogstatsd_url", t.DogstatsdURL, true}} {
		if s.url == "" {
			continue
		}
		network, address, err := sinkAddress(s.url)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s %s: %v; no metrics are sent there", s.key, quoted(s.url), err))
			continue
		}
		sinks = append(sinks, Sink{Key: s.key, Network: network, Address: address, Tagged: s.tagged, Interval: interval})
	}
	for _, s := range []struct {
		key, network, address string
		tagged                bool
	}{
		{"telemetry.statsd_address", "udp", t.BuiltIn.StatsdAddress, false},
		{"telemetry.statsite_address", "tcp", t.BuiltIn.StatsiteAddress, false},
		{"telemetry.dogstatsd_addr", "udp", t.BuiltIn.DogstatsdAddress, true},
	} {
		if s.address == "" {
			continue
		}
		if err := checkHostPort(s.address); err != nil {
			problems = append(problems, fmt.Sprintf("%s %s: %v; no metrics are sent there", s.key, quoted(s.address), err))
			continue
		}
		sinks = append(sinks, Sink{Key: s.key, Network: s.network, Address: s.address, Tagged: s.tagged, BuiltIn: true, Interval: interval})
	}
	return sinks, problems
}

// sinkAddress reads the address of a sink as Consul's `connect envoy` does: $NAME
// is a variable that has the URL, and within one there may be ${HOST_IP}.
func sinkAddress(s string) (network, address string, err error) {
	from := ""
	if name, ok := strings.CutPrefix(s, "$"); ok && !strings.HasPrefix(name, "{") {
		if s = os.Getenv(name); s == "" {
			return "", "", fmt.Errorf("the environment of this proxy has no %s", name)
		}
		from = "the environment's "
	}
	s = strings.ReplaceAll(strings.ReplaceAll(s, "${HOST_IP}", os.Getenv("HOST_IP")), "$HOST_IP", os.Getenv("HOST_IP"))
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", "", fmt.Errorf("%sURL cannot be read: give udp://host:port or unix:///path", from)
	case u.Scheme == "udp":
		return "udp", u.Host, checkHostPort(u.Host)
	case u.Scheme == "unix" && u.Path != "":
		return "unixgram", u.Path, nil
	}
	return "", "", fmt.Errorf("%sURL has no scheme that is known here: give udp://host:port or unix:///path", from)
}

var errNotHostPort = errors.New("not host:port")

func checkHostPort(s string) error {
	host, port, err := net.SplitHostPort(s)
	if n, bad := strconv.Atoi(port); err != nil || host == "" || bad != nil || n < 1 || n > 65535 {
		return errNotHostPort
	}
	return nil
}
