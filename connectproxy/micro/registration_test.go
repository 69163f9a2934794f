package micro

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connect-proxy/config"
)

// book is a Registrar that remembers.
type book struct {
	mu      sync.Mutex // guards what follows
	has     map[string]Registration
	foreign string
	err     error
}

func (b *book) Register(_ context.Context, r Registration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.ID == b.foreign {
		return ErrForeign
	}
	if b.err == nil {
		b.has[r.ID] = r
	}
	return b.err
}

func (b *book) Deregister(_ context.Context, id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if id == b.foreign {
		return ErrForeign
	}
	delete(b.has, id)
	return b.err
}

// ids are what is registered.
func (b *book) ids() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ids []string
	for id := range b.has {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

// registering is a Server at which what names say can be registered.
func registering(t *testing.T, names ...string) (*proxy, *book) {
	t.Helper()
	b := &book{has: make(map[string]Registration)}
	return start(t, &mesh{}, func(s *Server) {
		s.o.Registrar = b
		if err := s.Update(config.Micro{Register: names, Namespace: config.DefaultMicroNamespace, Handler: config.MicroRPC}); err != nil {
			t.Fatal(err)
		}
	}), b
}

// nodeOf is the body of a registration of one node.
func nodeOf(name, id string) string {
	return fmt.Sprintf(`{"name": %q, "nodes": [{"id": %q, "address": "10.0.0.1", "port": 9091}]}`, name, id)
}

func TestApplicationsRegisterThemselvesInMicrosForm(t *testing.T) {
	p, b := registering(t, "foo.bar")
	// Keys in the letters of the first release, and in those of later ones, which
	// have the port behind the address.
	status, _, body := p.send(t, "POST", "/registry?ttl=10s", "application/json", `{"Name": "foo.bar", "Version": "1.0", "Nodes": [{
		"Id": "foo.bar-017da09a-734f-11e5", "Address": "127.0.0.1", "Port": 9091, "Metadata": {"team": "a", "a b": "c", "consul-x": "d"}}],
		"Endpoints": [{"name": "Bar.Baz"}]}`)
	if status != 200 || body != "" {
		t.Fatalf("%d %q", status, body)
	}
	if status, _, body := p.send(t, "POST", "/registry", "", `{"name": "Foo.Bar", "nodes": [{"id": "n2", "address": "[::1]:9092"}, {"id": "n3", "address": ":9093"}]}`); status != 200 {
		t.Fatalf("%d %q", status, body)
	}
	got := b.has["foo.bar-017da09a-734f-11e5"]
	want := Registration{
		Service: "foo.bar", ID: "foo.bar-017da09a-734f-11e5", Address: "127.0.0.1", Port: 9091, TTL: 10 * time.Second,
		Meta: map[string]string{"team": "a"}, Tags: got.Tags,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	version, metadata, endpoints := unfold(Instance{Tags: got.Tags}, &unfolding{maxUnfolded})
	if version != "1.0" || len(metadata) != 3 || metadata["a b"] != "c" || len(endpoints) != 1 || string(endpoints[0]) != `{"name": "Bar.Baz"}` {
		t.Errorf("%q %q %q", version, metadata, endpoints)
	}
	if n := b.has["n2"]; n.Service != "foo.bar" || n.Address != "::1" || n.Port != 9092 || n.TTL != 0 {
		t.Errorf("%+v", n)
	}
	if n := b.has["n3"]; n.Address != "" || n.Port != 9093 {
		t.Errorf("%+v", n)
	}
	if status, _, body := p.send(t, "DELETE", "/registry", "application/json", `{"name": "foo.bar", "nodes": [{"id": "n2"}, {"id": "n3"}]}`); status != 200 || body != "" {
		t.Errorf("%d %q", status, body)
	}
	if got := b.ids(); got != "foo.bar-017da09a-734f-11e5" {
		t.Errorf("left are %s", got)
	}
}

func TestNothingIsRegisteredThatIsNotAllowed(t *testing.T) {
	none, b := registering(t)
	allow(t, none.Server, "*") // to call is not to register
	for _, method := range []string{"POST", "DELETE"} {
		if status, _, body := none.send(t, method, "/registry", "", nodeOf("shop", "n")); status != 403 || !strings.Contains(body, "add it to register") {
			t.Errorf("%d %s", status, body)
		}
	}
	p, c := registering(t, "shop", "till-*")
	for name, want := range map[string]int{
		"shop": 200, "till-1": 200, "db": 403, "shop2": 403, "": 400, "shop@dc2": 400, "shop.query": 400,
		"shop.service.consul": 400, "shop.virtual.other.ns.consul": 400, "a b": 400, "*": 400,
	} {
		if status, _, body := p.send(t, "POST", "/registry", "", nodeOf(name, "n-"+name)); status != want {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if b.ids() != "" || c.ids() != "n-shop n-till-1" {
		t.Errorf("registered are %q, %q", b.ids(), c.ids())
	}
}

func TestWhatIsNoRegistrationIsRefused(t *testing.T) {
	p, b := registering(t, "shop")
	node := func(n string) string { return `{"name": "shop", "nodes": [` + n + `]}` }
	for body, path := range map[string]string{
		`{`:                "",
		``:                 "",
		`[]`:               "",
		`{"name": "shop"}`: "",
		node(strings.Repeat(`{"id": "n", "port": 1},`, maxNodes) + `{"id": "n", "port": 1}`): "",
		node(`{"id": "n"}`):                                           "",
		node(`{"id": "n", "port": 65536}`):                            "",
		node(`{"id": "n", "port": -1}`):                               "",
		node(`{"id": "n", "address": "10.0.0.1:x"}`):                  "",
		node(`{"id": "n", "address": "a/b", "port": 1}`):              "",
		node(`{"id": "", "port": 1}`):                                 "",
		node(`{"id": "../../leave", "port": 1}`):                      "",
		node(`{"id": "..", "port": 1}`):                               "",
		node(`{"id": "a?b", "port": 1}`):                              "",
		node(`{"id": "a%2fb", "port": 1}`):                            "",
		node(`{"id": "` + strings.Repeat("n", 129) + `", "port": 1}`): "",
		node(`{"id": "n", "port": 1}`) + strings.Repeat(" ", 1):       "?ttl=10",
		node(`{"id": "n", "port": 1} `):                               "?ttl=-1s",
		node(`{"id": "n", "port":  1}`):                               "?ttl=25h",
		node(`{"id": "n", "port": 1, "metadata": {"k": "` + strings.Repeat("v", maxRegistration) + `"}}`): "",
	} {
		if status, _, answer := p.send(t, "POST", "/registry"+path, "application/json", body); status != 400 {
			t.Errorf("%.80s %s: %d %s", body, path, status, answer)
		}
	}
	if got := b.ids(); got != "" {
		t.Errorf("registered are %s", got)
	}
}

func TestWhatTheAgentSaysOfARegistrationIsPassedOn(t *testing.T) {
	p, b := registering(t, "shop")
	b.foreign = "web-1"
	for _, method := range []string{"POST", "DELETE"} {
		if status, _, body := p.send(t, method, "/registry", "", nodeOf("shop", "web-1")); status != 403 || !strings.Contains(body, "not registered through") {
			t.Errorf("somebody else's: %d %s", status, body)
		}
	}
	b.err = errors.New("the agent is down")
	for _, method := range []string{"POST", "DELETE"} {
		if status, _, body := p.send(t, method, "/registry", "", nodeOf("shop", "n")); status != 500 || strings.TrimSpace(body) != "the agent is down" {
			t.Errorf("%d %q", status, body)
		}
	}
}

func TestAPageInABrowserRegistersNothing(t *testing.T) {
	p, b := registering(t, "shop")
	for _, header := range []string{
		"Origin: http://evil.example", "Origin: http://" + p.address(), "Origin: null", "Sec-Fetch-Site: cross-site",
		"Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: none",
	} {
		for _, method := range []string{"POST", "DELETE"} {
			if status, _, body := p.send(t, method, "/registry", "text/plain", nodeOf("shop", "n"), header); status != 403 {
				t.Errorf("%s %s: %d %s", method, header, status, body)
			}
		}
	}
	if got := b.ids(); got != "" {
		t.Errorf("registered are %s", got)
	}
}
