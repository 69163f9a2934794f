// Package cli is the command line of connect-proxy: its commands and flags, what
// they mean together with the environment, signals and exit codes. Everything
// that is wrong with a command line is named at once, and nothing is started
// before all of it makes sense.
package cli
