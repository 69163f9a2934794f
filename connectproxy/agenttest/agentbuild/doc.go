// Package agentbuild builds the Consul agents that tests, the demo and the
// benchmark run, from source and at pinned versions, and keeps the binaries in
// the user's cache directory.
//
// Each agent is a Go module of its own below testdata/agents, so that the
// product's go.mod knows nothing of it. A binary's place in the cache is named
// after that module's go.mod and go.sum and after the Go release, so a change of
// any of them builds anew and nothing else does.
//
// The package starts no goroutine and runs nothing but the go command.
package agentbuild
