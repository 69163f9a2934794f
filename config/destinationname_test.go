package config

import (
	"errors"
	"strings"
	"testing"
)

func TestADestinationIsNamedAsApplicationsNameIt(t *testing.T) {
	db := Destination{Type: Service, Name: "db"}
	there, query := db, Destination{Type: PreparedQuery, Name: "near"}
	there.Datacenter = "dc2"
	team := db
	team.Namespace, team.Partition = "team", "north"
	for name, want := range map[string]Destination{
		"db": db, "DB": db, "db.": db, "db@dc2": there, "near.query": query,
		"near.query@dc2":                     {Type: PreparedQuery, Name: "near", Datacenter: "dc2"},
		"db.service.consul":                  db,
		"db.Service.Consul.":                 db,
		"db.connect.consul":                  db,
		"db.virtual.consul":                  db,
		"db.service.dc2.consul":              there,
		"db.connect.dc2.consul":              there,
		"db.service.dc2.dc.consul":           there,
		"db.virtual.dc2.dc.consul":           there,
		"near.query.consul":                  query,
		"near.query.dc2.consul":              {Type: PreparedQuery, Name: "near", Datacenter: "dc2"},
		"service.service.consul":             {Type: Service, Name: "service"},
		"go.micro.srv.greeter":               {Type: Service, Name: "go.micro.srv.greeter"},
		"db.virtual.default.ns.consul":       db,
		"db.virtual.team.ns.north.ap.consul": team,
	} {
		got, err := ParseDestination(name, "")
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
	}
	if got, err := ParseDestination("db.service.example.org", "example.org"); err != nil || got != db {
		t.Errorf("in another domain: %+v, %v", got, err)
	}
}

func TestWhatIsNoNameOfADestinationIsSaidSo(t *testing.T) {
	for _, name := range []string{
		"", ".", "@dc2", "db@", "db@dc2@dc3", "db@x.query@y", ".query", "d b", "db\n", "dbé", "db/x", "db:80", strings.Repeat("x", 256),
		"consul.consul", "db.consul", ".service.consul", "db..service.consul", "master.db.service.consul", "_db._tcp.service.consul",
		"db.node.consul", "db.service.x.dc.y.dc.consul", "db.service.a.b.consul", "db.virtual.peer.consul", "db@dc2.service.consul",
	} {
		if got, err := ParseDestination(name, ""); err == nil {
			t.Errorf("%q is taken for %+v", name, got)
		} else if strings.ContainsAny(err.Error(), "\n\r") || len(err.Error()) > 300 {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestAPatternAllowsWhatItSaysAndNothingElse(t *testing.T) {
	for _, c := range []struct {
		patterns string
		name     string
		want     bool
	}{
		{"", "db", false},
		{"*", "db@dc2", true},
		{"*", "near.query", true},
		{"db", "db", true},
		{"DB", "db", true},
		{"db", "db2", false},
		{"db", "xdb", false},
		{"db", "db@dc2", false},
		{"db", "db.query", false},
		{"team-*", "team-a", true},
		{"team-*", "team-", true},
		{"team-*", "team", false},
		{"team-*", "team-a@dc2", false},
		{"team-*", "team-a.query", false},
		{"team-*", "team-a.virtual.other.ns.consul", false},
		{"*-db", "team-db", true},
		{"a*b*c", "a-b-b-c", true},
		{"a*b*c", "a-c-b", false},
		{"a*a", "a", false},
		{"db@*", "db@dc2", true},
		{"db@*", "db", true},
		{"*@dc2", "db@dc2", true},
		{"*@dc2", "db@dc3", false},
		{"*.query", "near.query", true},
		{"*.query", "near", false},
		{"**", "db", true},
		{"**", "db@dc2", false},
		{"other db", "db", true},
		{"db.ns.*", "db.virtual.team.ns.consul", true},
	} {
		l, err := NewDestinationList(strings.Fields(c.patterns))
		if err != nil {
			t.Fatal(err)
		}
		d, err := ParseDestination(c.name, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Allows(d); got != c.want {
			t.Errorf("%q allows %q: %t", c.patterns, c.name, got)
		}
	}
	for _, p := range []string{"", "@dc2", "db@", "a@b@c", "d b", "db/*", strings.Repeat("x", 300),
		"10.0.0.1", "db.service.consul", "*.service.consul", "db.virtual.dc2.dc.consul", "near.query.consul"} {
		if _, err := NewDestinationList([]string{p}); err == nil {
			t.Errorf("%q is taken for a pattern", p)
		}
	}
}

func FuzzParseDestination(f *testing.F) {
	for _, s := range []string{"db", "db@dc2", "near.query", "db.service.consul", "db.virtual.a.ns.b.ap.c.dc.consul"} {
		f.Add(s)
	}
	all, err := NewDestinationList([]string{"*"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name string) {
		d, err := ParseDestination(name, "")
		if err != nil {
			return
		}
		if d.Name == "" || d.Type == "" || !all.Allows(d) || (DestinationList{}).Allows(d) {
			t.Errorf("%q is %+v", name, d)
		}
		only, err := NewDestinationList([]string{d.Pattern()})
		if errors.Is(err, errNameIsAddress) || errors.Is(err, errDNSPattern) {
			return
		}
		if err != nil || !only.Allows(d) {
			t.Errorf("%q does not allow %+v: %v", d.Pattern(), d, err)
		}
	})
}
