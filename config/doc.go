// Package config says what a proxy runs: listeners, upstreams, limits. It turns
// what a Consul agent, a file or the command line say into one Config, by one
// path for all of them: decode, defaults, validation.
//
// # From text to Config
//
// A setting's name, its place in a Config and how its value is read stand in
// one table (keys.go), which serves files and agents alike; what differs is how
// strict the reader is. A file's unknown key is a mistake with file and line;
// an agent's is a warning, unless it is one of Consul's or Envoy's. A value that
// is not understood is a mistake in both, but for the times and counts of an
// agent: those may come from central configuration, so they are warned of, with
// their origin, and the default is used.
//
// WithDefaults and Validate are pure and know nothing of where a Config came
// from. Validate finds every mistake at once; Parse reports them together with
// those of decoding, and so does the agent's source.
//
// # Sources
//
// A Source is pulled by its owner: it opens no socket but the agent's API, and
// no goroutine of its own outlives the call of Next that started it. Trouble
// that may pass is waited out inside Next and visible in Problem.
package config
