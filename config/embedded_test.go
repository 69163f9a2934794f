package config

import (
	"errors"
	"strings"
	"testing"
)

func TestAProgramsConfigurationMayLackAddresses(t *testing.T) {
	c := Config{
		Service: "web",
		Public:  &Public{Bind: Address{Port: 20000}},
		Upstreams: []Upstream{
			{Destination: Destination{Name: "db"}},
			{Destination: Destination{Name: "db", Type: PreparedQuery}},
			{Destination: Destination{Name: "cache"}, Bind: Address{Port: 9191}},
		},
	}
	s, err := NewStatic(c)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Next(t.Context())
	if err != nil || got.Mode != Embedded || !got.Upstreams[0].Bind.Unset() || got.Upstreams[0].Balance != DefaultBalance || got.Public.HandshakeTimeout != DefaultHandshakeTimeout {
		t.Errorf("%+v, %v", got, err)
	}
	if c.Mode != "" || c.Public.HandshakeTimeout != 0 {
		t.Error("the caller's configuration was altered")
	}
	c.Mode = File
	if _, err := NewStatic(c); err == nil {
		t.Error("a file's configuration may lack addresses")
	}
}

func TestAProgramsMistakesAreNamed(t *testing.T) {
	twice := Upstream{Destination: Destination{Name: "db"}}
	_, err := NewStatic(Config{Public: &Public{}, Upstreams: []Upstream{twice, twice, {Bind: Address{Port: -1}}}})
	var invalid *Invalid
	if !errors.As(err, &invalid) {
		t.Fatal(err)
	}
	for _, want := range []string{
		"service_name: missing", "public_listener.bind_port: missing",
		"upstreams[1]: db: there is one without an address already", "upstreams[2].destination_name: missing", "upstreams[2].local_bind_port: -1",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoes not say %q", err, want)
		}
	}
}
