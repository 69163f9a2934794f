package config

import (
	"strings"
	"testing"
)

func TestAnEdgeForEveryServiceIsWarnedOf(t *testing.T) {
	for pattern, want := range map[string]string{
		"*": "every service of the mesh", "**": "every service of the mesh", "*@dc2": `datacenter "dc2"`,
		"greeter": "", "go.micro.srv.*": "", "team-*": "", "near.query": "", "*.query": "every prepared query",
	} {
		c := Config{Edge: &Edge{Allow: []string{"greeter", pattern}}}
		got := strings.Join(c.Cautions(), "\n")
		if (got == "") != (want == "") || !strings.Contains(got, want) || strings.Count(got, "\n") > 0 {
			t.Errorf("%s: %q", pattern, got)
		}
	}
	if got := (Config{}).Cautions(); len(got) != 0 {
		t.Errorf("without an edge %q", got)
	}
}

func TestHeadersThatCannotBeAreNotToBeRemoved(t *testing.T) {
	e := Edge{Hosts: []string{"api.example.com"}, Allow: []string{}, Cert: "tls.pem", RemoveHeaders: []string{"X-Acme-*"}}
	c := Config{Service: "web", Edge: &e}.WithDefaults()
	if m := c.Validate(); len(m) != 0 {
		t.Fatal(m)
	}
	for _, p := range []string{"*", "X Acme", ""} {
		e.RemoveHeaders = []string{"X-Acme-*", p}
		if m := (Config{Service: "web", Edge: &e}).WithDefaults().Validate(); len(m) != 1 || !strings.Contains(m[0].String(), "edge.remove_headers") {
			t.Errorf("%q: %v", p, m)
		}
		if p == "*" {
			p = "x_forwarded_for"
		}
		kept := Edge{Hosts: e.Hosts, Allow: e.Allow, Cert: e.Cert, KeepHeaders: []string{p}}
		if m := (Config{Service: "web", Edge: &kept}).WithDefaults().Validate(); len(m) != 1 || !strings.Contains(m[0].String(), "edge.keep_headers") {
			t.Errorf("%q: %v", p, m)
		}
	}
}
