// Package connectproxy is the engine: it makes listeners and upstreams of a
// configuration, gives them an identity and an authorizer, and keeps all of it
// going while configurations, certificates and the agent come and go. It is the
// only package that knows the others. docs/library.md says what of it and of the
// others is promised to programs that use it as a library.
//
// # Life
//
//	Source.Next → translate → diff → reconcile
//
// translate and diff are pure. Role and address identify a listener:
// what is the same is not touched, changed options are swapped under the open
// socket, what is new starts before what is gone stops. A socket that closes
// leaves its connections alone, for as long as the configuration still leads to
// where they go and otherwise for the time of a drain.
//
// # Identity and authorization
//
// Who the proxy is and who may call it are two interfaces, Identity and
// Authorizer. Consul's implementations are used where Options name no others,
// and the engine knows nothing of how either works. A listener names the
// identity that it stands for, so that several can be in use at a time. Another
// value of IdentityOptions is another identity: it replaces the one in use when
// it can be proved, not before. Another value of AuthorizerOptions is another
// Authorizer, which also judges the connections that are open.
//
// Run returns when its context is done and the work under way has drained, and
// everything it started has ended. Inbound connections are drained first, while
// the application can still reach its upstreams.
//
// # Failure
//
// A first configuration that is invalid ends Run; a later one is reported once
// and the last good one stays. Everything else is waited out: an agent that is
// down, a permission that is missing, an address that is taken. Readiness names
// it meanwhile.
//
// The public port is open exactly while its identity can be proved: with
// Consul's, while there is a valid leaf. One that has expired with no newer in
// sight closes it again: no peer could be served, and a closed port is what
// turns the agent's TCP check critical, so that other instances take over, while
// a port that refuses handshakes would keep drawing connections. Those that are
// open were judged when the leaf was valid, are judged anew with each intention,
// and go on. Upstream listeners are open all the time, since only the
// application sees them: it is better held for a moment than refused.
//
// # Who owns what runs
//
//	goroutine                       started by         ended and waited for by
//	Proxy.Run                       its caller         its context; its caller
//	what follows the Source         Proxy.Run          Proxy.Run
//	an identity                     the loop           the loop
//	the authorizer                  the loop           the loop
//	a listener, or its binding      the loop           the loop
//	an upstream                     its listener       its listener
//	a resolver                      its first upstream its last upstream
//	registrar, admin                Proxy.Run          Proxy.Run, last of all
//
// All of them but what follows the Source outlive Run's context: they end after
// the drain. One goroutine, the loop, changes what runs. It keeps a state of its
// own and publishes copies of it that do not change; everyone else reads the
// latest.
package connectproxy
