package main

import (
	"go/ast"
	"maps"
	"slices"
	"strings"
	"testing"
)

// sameMeaning are the names of types that several packages declare because they
// mean one idea by it, each with that idea.
var sameMeaning = map[string]string{
	"Options": "what a package's own thing is made with",
	"Status":  "what a package's own thing says about itself at one moment",
	"Config":  "everything that something runs by: a proxy, or connections as tls.Config, or what a page shows of the former",
	"Conn":    "a net.Conn with what its package knows of it besides",
	"Server":  "answers the clients of a protocol, as http.Server",
	"Source":  "where something is had from: configurations, or what pages show",

	"Agent":          "the local agent: as a source of configurations, on a page, and as one for development",
	"Authorizer":     "the engine's interface and what implements it",
	"Catalog":        "Consul's catalog, as its package asks about it",
	"Connection":     "an open connection, and how a page shows it",
	"Decision":       "what is known of a caller's authorization, and how a page shows it",
	"Destination":    "what an upstream leads to, and its labels",
	"DialFunc":       "opens a connection for whoever has set it",
	"Direction":      "inbound or outbound",
	"Event":          "something that has happened, told to those who want to know: a line of the log, or what is published to a topic",
	"Identity":       "who somebody is: as configured, as files hold it, as the engine uses it, as an instance must prove it",
	"Instance":       "an instance of a service",
	"InstanceStatus": "an instance in a Status, and the same in JSON",
	"Listener":       "what accepts connections, and how a page shows it",
	"Origin":         "where a decision is from",
	"Proxy":          "the proxy, and how a page shows it",
	"Reason":         "why something did not succeed, of a closed set: a connection, or an attempt on an instance",
	"Registrar":      "registers services with the agent, for a program or for the proxy",
	"Resolver":       "the interface of what finds instances, what the engine runs of it, and what implements it",
	"Sender":         "sends to one receiver",
	"Upstream":       "a destination that can be reached: as configured, as it is dialled, as a page shows it",

	"agent":            "the Consul agent that a program has started for itself",
	"bucket":           "a token bucket",
	"clientContextKey": "the key of the client in a context",
	"clientKey":        "what a client's TLS configuration depends on within a generation",
	"conn":             "a connection: as accepted, in an event loop, and as a load has it",
	"generation":       "certificates of one moment with the TLS configurations made of them",
	"guard":            "outlives the process, if need be, to end what it has started",
	"instanceKey":      "what tells the instances of a destination apart",
	"intention":        "an intention of Consul's",
	"options":          "a command line's",
	"ports":            "the ports that what is started together binds",
	"queue":            "what waits in line",
	"serverKey":        "what a server's TLS configuration depends on within a generation",
	"verifier":         "establishes whose certificate chains to a set of authorities",
}

// forTests are the packages without which the program and the library are whole.
var forTests = []string{"connectproxy/agenttest/", "connectproxy/bench/", "connectproxy/systemtest", "listener/listenertest", "listener/secure/bogo"}

// Outside its package an exported name stands behind the package's, so packages
// for tests may repeat them; unexported names are told apart by nothing.
func TestNoTwoTypesOfOneNameMeanDifferentThings(t *testing.T) {
	declared := map[string][]string{}
	for _, f := range repository(t) {
		inTests := slices.ContainsFunc(forTests, func(p string) bool { return covers(p, f.dir) })
		for _, name := range typesOf(f) {
			if !f.test && (!inTests || !ast.IsExported(name)) && !slices.Contains(declared[name], f.dir) {
				declared[name] = append(declared[name], f.dir)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		switch packages := declared[name]; {
		case len(packages) > 1 && sameMeaning[name] == "":
			t.Errorf("%s is a type of %s: give each a name of its own, or say in sameMeaning what both are", name, strings.Join(packages, " and of "))
		case len(packages) == 1 && sameMeaning[name] != "":
			t.Errorf("%s is a type of %s alone, and needs no line in sameMeaning", name, packages[0])
		}
	}
	for name := range sameMeaning {
		if len(declared[name]) == 0 {
			t.Errorf("%s in sameMeaning is no type", name)
		}
	}
}

// typesOf are the names of the types that a file declares for its package.
func typesOf(f goFile) []string {
	var names []string
	for _, d := range f.ast.Decls {
		if d, ok := d.(*ast.GenDecl); ok {
			for _, s := range d.Specs {
				if s, ok := s.(*ast.TypeSpec); ok {
					names = append(names, s.Name.Name)
				}
			}
		}
	}
	return names
}
