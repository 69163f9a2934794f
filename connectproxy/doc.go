// Package connectproxy is the engine: it makes listeners and upstreams of a
// configuration, gives them an identity and a judge of callers, and keeps all
// of it going while configurations, certificates and the agent come and go. It
// is the only package that knows the others.
//
// # Life
//
//	Source.Next → translate → diff → apply
//
// translate and diff are pure. Listeners are told apart by role and address:
// what is the same is not touched, changed options are swapped under the open
// socket, what is new starts before what is gone stops. A socket that closes
// leaves its connections alone, for as long as the configuration still leads to
// where they go and otherwise for the time of a drain.
//
// Another service name is another identity. It replaces the one in use when it
// has its leaf, not before.
//
// Run returns when its context is done and the work under way has drained, and
// everything it started has ended. See Proxy.drain for the order.
//
// # Failure
//
// A first configuration that is invalid ends Run; a later one is reported once
// and the last good one stays. Everything else is waited out: an agent that is
// down, a permission that is missing, an address that is taken. Readiness names
// it meanwhile.
//
// The public port is open exactly while there is a valid leaf. One that has
// expired with no newer in sight closes it again: no peer could be served, and
// a closed port is what turns the agent's TCP check critical, so that other
// instances take over, while a port that refuses handshakes would keep drawing
// connections. Those that are open were judged when the leaf was valid, are
// judged anew with each intention, and go on. Upstream listeners are open all
// the time, since only the application sees them: it is better held for a
// moment than refused.
//
// # Who owns what runs
//
//	goroutine                       started by           ended and waited for by
//	Proxy.Run                       main                 its context; main
//	the pull of the Source          Proxy.Run            Proxy.Run
//	identity: leaf, roots, clock    the loop (duty)      the loop, Proxy.closeAll
//	authorizer                      the loop (duty)      the loop, Proxy.closeAll
//	a listener, or its binding      the loop (member)    the loop, Proxy.closeAll
//	an upstream                     its member (outlet)  its member
//	a resolver                      its first outlet     its last outlet
//	registrar, admin                Proxy.Run            Proxy.Run, last of all
//
// All of them but the pull outlive Run's context: they end after the drain. One
// goroutine, the loop, changes what runs; everyone else reads.
package connectproxy
