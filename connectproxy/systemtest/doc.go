// Package systemtest has no code but tests: the program as a whole, as its users
// have it, on real Consul agents, with real applications and real faults. Its
// parts have tests of their own, which are faster.
//
//   - apps: applications through a mesh of two proxies, byte for byte.
//   - fault: everything around the program fails, under counted traffic.
//   - control: configuration, intentions, certificates and the agent's load.
//   - managed, registered, start: the ways to be run.
//   - chain, gateway, datacenters: where an upstream may lead.
//   - fleet: many proxies and many upstreams on one agent.
package systemtest
