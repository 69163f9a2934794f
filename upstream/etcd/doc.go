// Package etcd finds the instances of a destination in etcd: whoever runs one
// writes a key for it, and a Resolver watches the keys below a prefix.
//
//	/srv/redis/debug/10.0.1.134:6379
//
// is an instance at 10.0.1.134:6379 for the prefix /srv/redis/debug. The value of
// a key says nothing. A key with a lease is how an instance that dies is
// forgotten.
//
// # A module of its own
//
// etcd's client brings gRPC with it, and versions of modules for which Consul's
// own tests cannot be built any more. So this package is a module of its own,
// which go.work joins with the main one: the go command, run in this directory,
// builds it. The engine does not know it: a program hands New's Resolver to the
// engine's Options.Resolvers, as the one in directory connect-proxy does.
//
// # Life
//
// New starts nothing. Run reads all keys, watches from the revision of that
// answer, and reads them again every now and then: that is how a cluster which
// is lost, or was restored from a backup to a revision before, is noticed. Each
// failure, and a revision that was compacted away, begins anew with another
// client and a fresh read. Meanwhile the last set stays.
//
// The client's goroutines end before Run returns.
package etcd
