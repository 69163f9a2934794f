package config

import (
	"strings"
	"testing"
)

func TestAnApplicationIsWhatThePublicListenerLeadsTo(t *testing.T) {
	app, other := Address{Host: "127.0.0.1", Port: 9090}, Address{Host: "10.0.0.1", Port: 9090}
	for _, tc := range []struct {
		name          string
		local, server Address
		wantLocal     Address
		wantServer    Address
	}{
		{"by the address of the application", Address{}, Address{Port: 9090}, app, app},
		{"by that of the public listener", app, Address{}, app, app},
		{"by both", app, other, app, other},
	} {
		c := Config{
			Mode: Flags, Public: &Public{Bind: Address{Port: 8443}, Local: tc.local},
			Micro: &Micro{Server: MicroServer{Name: "web", Address: tc.server}},
		}.WithDefaults()
		if m := c.Validate(); len(m) > 0 {
			t.Errorf("%s: %v", tc.name, m)
		}
		if c.Service != "web" || c.Public.Local != tc.wantLocal || c.Micro.Server.Address != tc.wantServer {
			t.Errorf("%s: %s, %+v, %+v", tc.name, c.Service, c.Public.Local, c.Micro.Server.Address)
		}
		if c.Micro.Listens() || c.NamesAtRunTime() || !c.RegistersApplication() {
			t.Errorf("%s: it is to be registered, and to listen for nobody", tc.name)
		}
	}
}

func TestAnApplicationIsRegisteredOnlyWhereItsProxyIs(t *testing.T) {
	valid := func() Config {
		return Config{
			Mode: Flags, Service: "web", Public: &Public{Bind: Address{Port: 8443}},
			Micro: &Micro{Server: MicroServer{Name: "web", Address: Address{Port: 9090}}},
		}
	}
	for want, change := range map[string]func(*Config){
		"":                      func(*Config) {},
		"registered already":    func(c *Config) { c.Mode = Registered },
		"not the service":       func(c *Config) { c.Service = "shop" },
		"needs a public_list":   func(c *Config) { c.Public = nil },
		"micro.server_name: mi": func(c *Config) { c.Micro.Server.Name = "" },
		"micro.bind_port":       func(c *Config) { c.Micro.Allow = []string{"*"} },
		"leave it out":          func(c *Config) { c.Micro.Server.HealthCheckURL = "http://user:secret@127.0.0.1/" },
		"not a URL":             func(c *Config) { c.Micro.Server.HealthCheckURL = "file:///etc/passwd" },
	} {
		c := valid()
		change(&c)
		var texts []string
		for _, m := range c.WithDefaults().Validate() {
			texts = append(texts, m.String())
		}
		all := strings.Join(texts, "\n")
		if (want == "") != (all == "") || !strings.Contains(all, want) || strings.Contains(all, "secret") {
			t.Errorf("%q: %s", want, all)
		}
	}
}
