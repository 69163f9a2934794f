// Package dns finds the instances of upstreams in the DNS: the addresses of a host
// name, or the targets of an SRV record.
//
// It looks names up like other programs on the machine, with Go's resolver: the hosts
// file, search domains and other settings of the system apply. While a destination is
// in use, it is asked for again when the last answer is no longer valid, at least once
// a minute and at most once a second; every 5 seconds where that is not known, as for
// a name in the hosts file or where the system's own resolver is used (macOS, Windows).
// When it is idle it is asked for once a minute; the first connection after an idle
// time waits for an answer.
//
// The last known set survives all errors, and also a name that no longer exists: its
// instances may still be there. Run's only goroutine is its caller's.
package dns
