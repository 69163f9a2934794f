package gomicro

import (
	"fmt"
	"strings"
	"testing"
)

// inRegistry has a program use the registry at the address of an agent; without
// one it has its own.
func inRegistry(agent string) []string {
	if agent == "" {
		return nil
	}
	return []string{"MICRO_REGISTRY_ADDRESS=" + agent}
}

// Subscribe runs the service of that name, which subscribes to a topic, and returns
// once it listens. Only release v5 can register itself with an agent.
func Subscribe(t testing.TB, release, name, topic, agent string) *Peer {
	t.Helper()
	p := start(t, program(t, release), inRegistry(agent), "subscribe", "-service", name, "-topic", topic)
	p.Address = p.ready()
	return p
}

// Event waits for the next event of a subscriber and returns its topic and the name
// in it.
func (p *Peer) Event() string {
	p.t.Helper()
	for {
		if event, ok := strings.CutPrefix(p.line(), "event "); ok {
			return event
		}
	}
}

// Publisher runs a client that publishes to a topic by Go Micro's HTTP broker. Its
// registry is the agent's, or one of its own which knows of a proxy alone.
func Publisher(t testing.TB, release, topic, agent, proxy string) *Peer {
	t.Helper()
	p := start(t, program(t, release), inRegistry(agent), "publish", "-topic", topic, "-proxy", proxy)
	p.ready()
	return p
}

// Publish has a publisher publish an event with that name in it.
func (p *Peer) Publish(name string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.in, name); err != nil {
		p.t.Fatal(err)
	}
}
