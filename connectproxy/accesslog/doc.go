// Package accesslog writes one record for each connection that has ended: who called
// what, for how long, how many bytes were sent, and why it ended.
//
// A Log is given to listeners as their Observer. It passes each listener.Summary to a
// logwriter.Writer of its own, whose goroutine turns it into a record in text, in JSON,
// or in a format of Consul's AccessLogs with Envoy's operators. The Writer never blocks:
// if the reader has gone or the disk is full, records are dropped and counted, and
// connections are not affected.
//
// Some of the values come from strangers, such as the server name that they ask for.
// Every value is escaped for the format in which it is written, so that nobody can end
// a record, begin another one, or add a field.
//
// Update and Close may be called at any time. A Log owns the goroutines of its writers,
// and those that end replaced writers; Close waits for all of them, for as long as it is
// told to.
package accesslog
