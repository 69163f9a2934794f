package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// namespace begins every name of this program's own.
const namespace = "connect_proxy_"

// family is a metric family of Prometheus: all series of one name.
type family struct {
	// Name is in full; it ends in the unit, such as _seconds or _bytes.
	Name string
	// Type is Prometheus': counter, gauge or histogram.
	Type string
	// Labels are the names of its labels, in order.
	Labels []string
	// Help says in words what is counted.
	Help string

	buckets []float64
	desc    *prometheus.Desc
}

// families are all of them, in the order of the documentation.
var families []*family

func newFamily(name, typ, help string, labels ...string) *family {
	f := &family{Name: namespace + name, Type: typ, Help: help, Labels: labels}
	f.desc = prometheus.NewDesc(f.Name, help, labels, nil)
	families = append(families, f)
	return f
}

func counter(name, help string, labels ...string) *family {
	return newFamily(name, "counter", help, labels...)
}
func gauge(name, help string, labels ...string) *family {
	return newFamily(name, "gauge", help, labels...)
}

func timing(name, help string, buckets []float64, labels ...string) *family {
	f := newFamily(name, "histogram", help, labels...)
	f.buckets = buckets
	return f
}

var (
	handshakeBuckets = []float64{.001, .002, .005, .01, .02, .05, .1, .25, .5, 1, 2.5, 10}
	durationBuckets  = []float64{.01, .1, 1, 10, 60, 600, 3600, 21600, 86400}
)

// Families of this program's own.
var (
	buildInfo = gauge("build_info", "The program that runs. Always 1.", "version", "revision", "goversion", "fips")
	info      = gauge("info", "Whom this proxy represents. Always 1.", "service", "service_id", "namespace", "partition", "datacenter", "mode", "proxy_id")
	ready     = gauge("ready", "1 while the proxy is ready.")
	draining  = gauge("draining", "1 while the proxy is draining.")

	connectionsOpened  = counter("connections_opened_total", "Connections that were authorized, connected and started to relay.", "direction", "source", "destination", "datacenter")
	connectionsClosed  = counter("connections_closed_total", "Accepted connections that ended, relayed or not, by reason.", "direction", "source", "destination", "datacenter", "reason")
	connectionsActive  = gauge("connections_active", "Connections that are relayed.", "direction", "source", "destination", "datacenter")
	connectionsPending = gauge("connections_pending", "Connections that are accepted and not relayed yet, by what they wait for.", "direction", "stage")
	acceptErrors       = counter("accept_errors_total", "Attempts to accept a connection that failed, for want of descriptors for example.", "direction")
	transferredBytes   = counter("transferred_bytes_total", "The application's bytes relayed, those of open connections included.", "direction", "source", "destination", "datacenter", "flow")
	connectionDuration = timing("connection_duration_seconds", "Time from accept to close of connections that were relayed.", durationBuckets, "direction", "destination")

	handshakes        = counter("handshakes_total", "TLS handshakes with clients, and with instances of destinations, by outcome.", "direction", "result", "resumed", "version")
	handshakeDuration = timing("handshake_duration_seconds", "Time of TLS handshakes that succeeded.", handshakeBuckets, "direction", "resumed")
	dialDuration      = timing("dial_duration_seconds", "Time from the first attempt to a far side that is connected and verified.", handshakeBuckets, "direction", "destination")
	dialAttempts      = counter("dial_attempts_total", "Attempts on instances of destinations, and on the local application under its service's name.", "direction", "destination", "result")

	authorizations        = counter("authorizations_total", "Decisions on callers that have proved who they are.", "source", "decision", "origin")
	authorizationsRevoked = counter("authorizations_revoked_total", "Open connections that were ended by a change of intentions.", "source")

	upstreamInstances = gauge("upstream_instances", "Instances of destinations that are known.", "destination", "state")
	upstreamSetAside  = counter("upstream_instances_set_aside_total", "How often an instance of a destination was set aside, by the last attempt's result.", "destination", "result")

	certificateExpiry  = gauge("certificate_expiry_timestamp_seconds", "When the proxy's own certificate ends, and the root that ends first.", "kind")
	certificateStart   = gauge("certificate_start_timestamp_seconds", "When the proxy's own certificate began.", "kind")
	certificateChanges = counter("certificate_changes_total", "Certificates and sets of roots that the agent gave, those that could not be used included.", "kind", "result")

	agentRequests    = counter("agent_requests_total", "Questions to the agent by what they are about and what they came to.", "endpoint", "result")
	agentLastSuccess = gauge("agent_last_success_timestamp_seconds", "When the agent last confirmed what is known, the oldest of each kind.", "watch")

	configChanged          = gauge("config_last_change_timestamp_seconds", "When the configuration in force took effect.")
	configProblem          = gauge("config_problem", "1 while something newer than the configuration in force is invalid.")
	configWarnings         = gauge("config_warnings", "Settings that are not honoured.")
	configSecurityWarnings = gauge("config_security_warnings", "Settings that are not honoured and would keep somebody out elsewhere.")

	eventsCame = counter("micro_events_total", "Events of Micro that applications published and other proxies brought, by what became of them.", "origin", "result")
	eventsLost = counter("micro_events_lost_total", "Events of Micro that somebody who subscribes did not get, once for each of them.", "subscriber", "reason")

	listenerUp = gauge("listener_up", "1 while the listener accepts connections.", "listener", "direction", "address")
	logDropped = counter("log_dropped_total", "Lines of the log that could not be written.")

	accessLogDropped = counter("access_log_dropped_total", "Records of the access log that could not be written.")
)

// trafficFamilies are those that Names turns off.
var trafficFamilies = map[*family]bool{
	connectionsOpened: true, connectionsClosed: true, connectionsActive: true, connectionsPending: true, transferredBytes: true, acceptErrors: true,
}

func (f *family) opts() prometheus.Opts { return prometheus.Opts{Name: f.Name, Help: f.Help} }

// histogram has classic buckets, and native ones for scrapers that ask for them.
func histogram(f *family) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: f.Name, Help: f.Help, Buckets: f.buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  100,
		NativeHistogramMinResetDuration: time.Hour,
	}, f.Labels)
}
