// Package listenertest holds what the tests of every package need to talk to a
// listener: a certificate authority in memory, servers with a counter, pairs of
// real sockets and a check for leaks. It imports testing and belongs in tests
// only. What a function opens is closed by the test's Cleanup.
package listenertest
