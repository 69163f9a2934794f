package micro

import (
	"strings"
	"testing"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest/gomicro"
)

func TestMicrosOwnCommandLineWorksThroughTheProxy(t *testing.T) {
	b := &book{has: make(map[string]Registration)}
	m := &mesh{services: map[string]string{"greeter": gomicro.Serve(t, "v2", "greeter").Address}}
	p := start(t, m, func(s *Server) {
		s.o.Registrar = b
		s.o.Registry = &catalog{all: map[string][]Instance{
			"greeter": {{ID: "g1", Address: "10.0.0.1", Port: 9090, Tags: []string{fold("v", "1.2")}}},
			"secret":  {{ID: "s1"}},
		}}
		if err := s.Update(config.Micro{
			Allow: []string{"greeter"}, Register: []string{"foo.bar"}, Namespace: config.DefaultMicroNamespace, Handler: config.MicroRPC,
		}); err != nil {
			t.Fatal(err)
		}
	})
	const node = `{"name": "foo.bar", "nodes": [{"id": "n1", "address": "127.0.0.1", "port": 9091}]}`
	for _, tc := range []struct {
		args string
		says []string
	}{
		{"list services", []string{"greeter"}},
		{"get service greeter", []string{"service  greeter", "version 1.2", "g1\t10.0.0.1\t9090"}},
		{"call greeter Greeter.Hello {\"name\":\"cli\"}", []string{"cli"}},
		{"register service " + node, []string{"ok"}},
		{"deregister service " + node, []string{"ok"}},
	} {
		args := strings.SplitN(tc.args, " ", 3)
		if args[0] == "call" {
			args = strings.Split(tc.args, " ")
		}
		out, err := gomicro.CLI(t, p.address(), args...)
		for _, want := range tc.says {
			if err != nil || !strings.Contains(out, want) || strings.Contains(out, "secret") {
				t.Errorf("micro %s: %v, %s", tc.args, err, out)
			}
		}
		if got := b.ids(); (got == "n1") != (args[0] == "register") {
			t.Errorf("after micro %s registered are %q", tc.args, got)
		}
	}
	if out, _ := gomicro.CLI(t, p.address(), "get", "service", "secret"); strings.Contains(out, "s1") {
		t.Errorf("a service that may not be called: %s", out)
	}
}
