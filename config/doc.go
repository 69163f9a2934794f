// Package config says what a proxy runs: listeners, upstreams, limits. It turns
// what a Consul agent, a file or the command line say into one Config, by one
// path for all of them: decode, defaults, validation.
//
// It opens no socket but the agent's API and starts no goroutine: a Source is
// pulled by its owner.
package config
