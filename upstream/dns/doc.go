// Package dns finds the instances of upstreams in the DNS: the addresses of a host
// name, or the targets of an SRV record.
//
// It looks names up like other programs on the machine, with Go's resolver: the hosts
// file, search domains and other settings of the system apply. That resolver does not
// tell how long an answer is valid, so it is asked at fixed intervals, every 5 seconds
// while the destination is in use and once a minute when it is idle; the first
// connection after an idle time waits for an answer. Caching answers for as long as
// they are valid is left to the resolver of the machine or of the container.
//
// The last known set survives all errors, and also a name that no longer exists: its
// instances may still be there. Run's only goroutine is its caller's.
package dns
