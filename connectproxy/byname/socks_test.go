package byname_test

import (
	"io"
	"strings"
	"testing"

	"connect-proxy/config"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

const (
	greeting   = "\x05\x01\x00"
	agreed     = "\x05\x00"
	succeeded  = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	nameOfUser = "\x05\x02\x00\x02"
)

// connectTo is a request of SOCKS5.
func connectTo(name string) string {
	return "\x05\x01\x00\x03" + string(rune(len(name))) + name + "\x00\x50"
}

func password(user, word string) string {
	return "\x01" + string(rune(len(user))) + user + string(rune(len(word))) + word
}

func TestAClientOfSOCKS5IsConnectedToTheServiceThatItNames(t *testing.T) {
	echo := listenertest.NewEcho(t)
	p := start(t, allowing("db"), &mesh{services: map[string]string{"db": echo.Addr()}})
	for _, name := range []string{"db", "DB", "db.", "db.service.consul", "db.connect.consul", "db.virtual.consul"} {
		c := p.dial(t)
		if got := says(t, c, greeting, 2); got != agreed {
			t.Fatalf("%q", got)
		}
		if got := says(t, c, connectTo(name), 10); got != succeeded {
			t.Fatalf("%s: %q", name, got)
		}
		if got := says(t, c, "hello", 5); got != "hello" {
			t.Errorf("%q", got)
		}
		_ = c.CloseWrite()
		if got := rest(t, c); got != "" {
			t.Errorf("%q", got)
		}
	}
	s := p.ended(t, 6)
	if s.Destination != (config.Destination{Type: config.Service, Name: "db"}) || s.Reason != listener.ReasonClosed || s.ToUpstream != 5 {
		t.Errorf("%+v", s)
	}
}

func TestAClientOfSOCKS5MaySendEverythingAtOnce(t *testing.T) {
	echo := listenertest.NewEcho(t)
	p := start(t, allowing("db"), &mesh{services: map[string]string{"db": echo.Addr()}})
	c := p.dial(t)
	_, _ = io.WriteString(c, greeting+connectTo("db")+strings.Repeat("early ", 2000))
	_ = c.CloseWrite()
	if got, want := rest(t, c), agreed+succeeded+strings.Repeat("early ", 2000); got != want {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
}

func TestAClientOfSOCKS5IsToldByItsCodesWhyItGetsNothing(t *testing.T) {
	m := &mesh{reasons: map[string]listener.Reason{
		"none": listener.ReasonNoEndpoints, "late": listener.ReasonDialTimeout, "down": listener.ReasonDialFailed,
		"hidden": listener.ReasonUpstreamDenied, "full": listener.ReasonLimit, "wrong": listener.ReasonUpstreamIdentity,
		"stopped": listener.ReasonUpstreamUnavailable,
	}}
	p := start(t, allowing("none", "late", "down", "hidden", "full", "wrong", "stopped"), m)
	n := 0
	for request, want := range map[string]struct {
		code   byte
		reason listener.Reason
	}{
		connectTo("none"):                               {4, listener.ReasonNoEndpoints},
		connectTo("late"):                               {6, listener.ReasonDialTimeout},
		connectTo("down"):                               {5, listener.ReasonDialFailed},
		connectTo("stopped"):                            {5, listener.ReasonUpstreamUnavailable},
		connectTo("hidden"):                             {2, listener.ReasonUpstreamDenied},
		connectTo("full"):                               {1, listener.ReasonLimit},
		connectTo("wrong"):                              {1, listener.ReasonUpstreamIdentity},
		connectTo("secret"):                             {2, listener.ReasonDenied},
		connectTo("no name"):                            {4, listener.ReasonHandshakeFailed},
		connectTo("10.0.0.1"):                           {4, listener.ReasonHandshakeFailed},
		connectTo(""):                                   {4, listener.ReasonHandshakeFailed},
		"\x05\x02\x00\x03\x01a\x00\x50":                 {7, listener.ReasonHandshakeFailed},
		"\x05\x01\x00\x01\x7f\x00\x00\x01\x00P":         {8, listener.ReasonHandshakeFailed},
		"\x05\x01\x00\x04" + strings.Repeat("\x00", 18): {8, listener.ReasonHandshakeFailed},
		"\x05\x01\x00\x09\x01a\x00\x50":                 {8, listener.ReasonHandshakeFailed},
		"\x04\x01\x00\x03\x01a\x00\x50":                 {1, listener.ReasonHandshakeFailed},
	} {
		c := p.dial(t)
		says(t, c, greeting, 2)
		if got := says(t, c, request, 10); got[0] != 5 || got[1] != want.code {
			t.Errorf("%q: answered %q, want code %d", request, got, want.code)
		}
		_ = c.CloseWrite()
		if got := rest(t, c); got != "" {
			t.Errorf("%q: %q after the answer", request, got)
		}
		n++
		if s := p.ended(t, n); s.Reason != want.reason || s.Relayed {
			t.Errorf("%q: %s, %v", request, s.Reason, s.Err)
		}
	}
}

func TestApplicationsAreToldApartByTheNamesTheyGive(t *testing.T) {
	echo := listenertest.NewEcho(t)
	m := &mesh{services: map[string]string{"db": echo.Addr(), "mail": echo.Addr()}}
	c := allowing("db")
	c.Users = []config.ByNameUser{
		{Name: "shop", Password: "secret", Allow: []string{"mail"}},
		{Name: "cron", Allow: []string{"*"}},
	}
	p := start(t, c, m)
	for i, x := range []struct {
		user, password, to, want string
	}{
		{"shop", "secret", "mail", succeeded},
		{"shop", "secret", "db", "\x05\x02"},
		{"shop", "wrong", "mail", ""},
		{"shop", "", "mail", ""},
		{"nobody", "secret", "mail", ""},
		{"cron", "any", "mail", succeeded},
		{"", "", "db", succeeded},
		{"", "", "mail", "\x05\x02"},
	} {
		c := p.dial(t)
		if got := says(t, c, nameOfUser, 2); got != "\x05\x02" {
			t.Fatalf("%q", got)
		}
		answer := says(t, c, password(x.user, x.password), 2)
		if (answer == "\x01\x00") != (x.want != "") {
			t.Errorf("%+v: %q", x, answer)
		}
		if x.want != "" {
			if got := says(t, c, connectTo(x.to), 10); !strings.HasPrefix(got, x.want) {
				t.Errorf("%+v: %q", x, got)
			}
		}
		_ = c.Close()
		s := p.ended(t, i+1)
		if s.User != x.user || x.want == "" && s.Reason != listener.ReasonDenied {
			t.Errorf("%+v: user %q, %s", x, s.User, s.Reason)
		}
		if s.Err != nil && strings.Contains(s.Err.Error(), "secret") {
			t.Errorf("a password in %q", s.Err)
		}
	}
}

func TestWhereNoUsersAreKnownAnyNameIsTakenForTheLog(t *testing.T) {
	echo := listenertest.NewEcho(t)
	p := start(t, allowing("db"), &mesh{services: map[string]string{"db": echo.Addr()}})
	c := p.dial(t)
	says(t, c, nameOfUser, 2)
	says(t, c, password("shop", "any"), 2)
	if got := says(t, c, connectTo("db"), 10); got != succeeded {
		t.Fatalf("%q", got)
	}
	_ = c.Close()
	if s := p.ended(t, 1); s.User != "shop" {
		t.Errorf("%+v", s)
	}
}

func TestWhatIsNoProtocolOfThisPortIsRefused(t *testing.T) {
	p := start(t, allowing("*"), &mesh{})
	for i, x := range []struct{ said, answer string }{
		{"\x04\x01\x00\x50\x00\x00\x00\x01\x00db\x00", "\x00\x5b\x00\x00\x00\x00\x00\x00"},
		{"\x16\x03\x01\x00\x05hello", ""},
		{"\x05\x01\x01", "\x05\xff"},
		{"\x05\x00", "\x05\xff"},
		{nameOfUser + "\x02\x01a\x01b", "\x05\x02"},
		{"\x05\x01\x00\x05\x01", "\x05\x00"},
		{"\x05", ""},
		{"hello\r\n\r\n", "HTTP/1.1 400"},
	} {
		c := p.dial(t)
		_, _ = io.WriteString(c, x.said)
		_ = c.CloseWrite()
		got, _ := io.ReadAll(c)
		if !strings.HasPrefix(string(got), x.answer) || x.answer == "" && len(got) > 0 {
			t.Errorf("%q: answered %q", x.said, got)
		}
		if s := p.ended(t, i+1); s.Reason != listener.ReasonHandshakeFailed {
			t.Errorf("%q: %s, %v", x.said, s.Reason, s.Err)
		}
	}
}

func TestAClientOfSOCKS5ThatWaitsDoesNotKeepAnotherList(t *testing.T) {
	p := start(t, allowing("db"), &mesh{services: map[string]string{"db": listenertest.NewEcho(t).Addr()}})
	c := p.dial(t)
	says(t, c, "\x05\x01\x00", 2)
	if err := p.Server.Update(allowing("other")); err != nil {
		t.Fatal(err)
	}
	if got := says(t, c, "\x05\x01\x00\x03\x02db\x00\x01", 10); got[1] != 2 {
		t.Errorf("%q after it was taken off the list", got)
	}
}
