package micro

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"connect-proxy/config"
)

// catalog is a Registry that counts what it is asked.
type catalog struct {
	mu     sync.Mutex // guards what follows
	asked  int
	failed bool
	all    map[string][]Instance
}

var errAgentDown = errors.New("the agent is down")

func (c *catalog) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

func (c *catalog) fail(yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = yes
}

func (c *catalog) Services(context.Context) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	if c.failed {
		return nil, errAgentDown
	}
	var names []string
	for name := range c.all {
		names = append(names, name)
	}
	return names, nil
}

func (c *catalog) Instances(_ context.Context, d config.Destination) ([]Instance, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	if c.failed || d.Name == "broken" {
		return nil, errAgentDown
	}
	return slices.Clone(c.all[d.Name]), nil
}

func TestTheRegistryShowsWhatMayBeCalledInMicrosForm(t *testing.T) {
	c := &catalog{all: map[string][]Instance{
		"secret": {{ID: "s"}},
		"plain":  {{ID: "p1", Address: "10.0.0.9", Port: 80, Tags: []string{"web", "v-zz", "t-" + strings.Repeat("0", 10)}}},
		"greeter": {
			{ID: "g1", Address: "10.0.0.1", Port: 9090, Meta: map[string]string{"server": "mucp"}, Tags: []string{
				fold("v", "1.2"), fold("e", `{"name":"Greeter.Hello"}`), fold("t", `{"team":"a"}`), fold("e", strings.Repeat(" ", maxTag+1)+"{}"),
			}},
			{ID: "g2", Address: "10.0.0.2", Port: 9090, Tags: []string{fold("v", "1.3")}},
			{ID: "g3", Address: "10.0.0.3", Port: 9090, Tags: []string{fold("v", "1.2")}},
		},
	}}
	p := start(t, &mesh{}, func(s *Server) {
		s.o.Registry = c
		allow(t, s, "greeter", "plain", "none", "broken")
	})
	get := func(path string) (int, []registryService) {
		t.Helper()
		status, _, body := p.send(t, "GET", path, "", "")
		var found []registryService
		if status == 200 {
			if err := json.Unmarshal([]byte(body), &found); err != nil {
				t.Fatal(err)
			}
		}
		return status, found
	}
	if status, found := get("/registry"); status != 200 || len(found) != 2 || found[0].Name != "greeter" || found[1].Name != "plain" {
		t.Errorf("all: %d %+v", status, found)
	}
	status, found := get("/registry?service=greeter")
	if status != 200 || len(found) != 2 || found[0].Version != "1.2" || len(found[0].Nodes) != 2 || len(found[0].Endpoints) != 1 {
		t.Fatalf("one: %d %+v", status, found)
	}
	if n := found[0].Nodes[0]; n.ID != "g1" || n.Address != "10.0.0.1" || n.Port != 9090 || n.Metadata["team"] != "a" || n.Metadata["server"] != "mucp" {
		t.Errorf("%+v", n)
	}
	if status, found := get("/registry?service=plain"); status != 200 || len(found) != 1 || found[0].Version != "" {
		t.Errorf("not of Micro: %d %+v", status, found)
	}
	for path, want := range map[string]int{"?service=none": 404, "?service=secret": 403, "?service=a%20b": 400, "?service=broken": 500} {
		if status, _ := get("/registry" + path); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
	if status, _, _ := p.send(t, "PUT", "/registry", "application/json", "{}"); status != 405 {
		t.Errorf("another method: %d", status)
	}
}

func TestTheRegistryAsksTheAgentSeldom(t *testing.T) {
	c := &catalog{all: map[string][]Instance{"greeter": {{ID: "g"}}}}
	p := start(t, &mesh{}, func(s *Server) { s.o.Registry = c })
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { p.send(t, "GET", "/registry?service=greeter", "", "") })
	}
	wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked > 5 { // a second each, on a machine that may be slow
		t.Errorf("%d questions for 20 requests", c.asked)
	}
}
