// Package metrics counts what a proxy does and serves it to Prometheus, under
// this program's names (Families) and under those of Envoy that the UI of Consul
// and HashiCorp's Grafana boards ask for.
//
// # Where the numbers are from
//
// Connections are counted when they open and when they end, and their bytes by
// the relay.Counters that Opened returns, which the relay adds to once a turn. So
// a connection costs the same whatever passes through it, and a scrape costs the
// same however many there are. Everything else is asked for at a scrape by
// Options.Facts.
//
// # Labels
//
// Names of services are from verified SPIFFE IDs or from the configuration. A
// process remembers maxPeers of them; what comes later is counted under "other".
//
// The package starts no goroutine and has no state outside of a Metrics.
package metrics
