package config

import (
	"strings"
	"testing"
)

func TestParseUpstream(t *testing.T) {
	svc := func(name string) Destination { return Destination{Type: Service, Name: name} }
	for flag, want := range map[string]Upstream{
		"db:8181":              {Destination: svc("db"), Bind: Address{Port: 8181}},
		"db.service:8181":      {Destination: svc("db"), Bind: Address{Port: 8181}},
		"db.:8181":             {Destination: svc("db"), Bind: Address{Port: 8181}},
		"db:127.0.0.10:8181":   {Destination: svc("db"), Bind: Address{Host: "127.0.0.10", Port: 8181}},
		"db:localhost:8181":    {Destination: svc("db"), Bind: Address{Host: "localhost", Port: 8181}},
		"db:[::1]:8181":        {Destination: svc("db"), Bind: Address{Host: "::1", Port: 8181}},
		"db:[fe80::1%lo]:8181": {Destination: svc("db"), Bind: Address{Host: "fe80::1%lo", Port: 8181}},
		"db:unix:/run/db.sock": {Destination: svc("db"), Bind: Address{Path: "/run/db.sock"}},
		"db:unix:db.sock":      {Destination: svc("db"), Bind: Address{Path: "db.sock"}},
		"near-db.query:8181":   {Destination: Destination{Type: PreparedQuery, Name: "near-db"}, Bind: Address{Port: 8181}},
		"a.b.query:8181":       {Destination: Destination{Type: PreparedQuery, Name: "a.b"}, Bind: Address{Port: 8181}},
	} {
		got, err := ParseUpstream(flag)
		if err != nil || got.Destination != want.Destination || got.Bind != want.Bind {
			t.Errorf("%s: %+v, %v; want %+v", flag, got, err, want)
		}
	}
	for flag, want := range map[string]string{
		"":                "no port",
		"db":              "no port",
		":8181":           "no name",
		".query:8181":     "no name",
		"db:":             "not a port",
		"db:http":         "not a port",
		"db:0":            "not a port",
		"db:65536":        "not a port",
		"db:-1":           "not a port",
		"db:8181x":        "not a port",
		"db:1.2.3.4:":     "not a port",
		"db:1.2.3.4.5:80": "not a host",
		"db:a b:80":       "not a host",
		"db:::1:8181":     "not an address",
		"db:unix:":        "not an address",
		"db.peer:8181":    `unknown kind of destination ".peer"`,
	} {
		_, err := ParseUpstream(flag)
		if err == nil || !strings.HasPrefix(err.Error(), quoted(flag)+": "+want) {
			t.Errorf("%s: %v; want %s…", flag, err, want)
		}
	}
}

func TestParseAddress(t *testing.T) {
	for text, want := range map[string]Address{
		"127.0.0.1:80":         {Host: "127.0.0.1", Port: 80},
		"[::1]:80":             {Host: "::1", Port: 80},
		":80":                  {Port: 80},
		"web.example.com:8080": {Host: "web.example.com", Port: 8080},
		"unix:/run/a b.sock":   {Path: "/run/a b.sock"},
		"unix:///run/a.sock":   {Path: "/run/a.sock"},
	} {
		if got, err := ParseAddress(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                    "not an address",
		"127.0.0.1":           "no port",
		"::1:80":              "not an address",
		"[::1]":               "not an address",
		"/run/a.sock":         "not an address",
		"unix:///":            "not an address",
		"http://127.0.0.1:80": "not an address",
		"127.0.0.1:80/path":   "not a port",
		"under score.com:80":  "not a host",
		"127.0.0.1:\x1b31m80": "not a port",
	} {
		_, err := ParseAddress(text)
		if err == nil || !strings.HasPrefix(err.Error(), quoted(text)+": "+want) || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q: %v; want %s…", text, err, want)
		}
	}
}
