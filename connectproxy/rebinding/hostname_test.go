package rebinding

import "testing"

func TestAHostIsANameOrAnAddressAndAPort(t *testing.T) {
	for host, want := range map[string]string{
		"db": "db", "db:80": "db", "db:": "db", "DB.": "DB", "db.:65535": "db", "db@dc2:1": "db@dc2", "": "", ":80": "",
		"127.0.0.1:80": "127.0.0.1", "[::1]": "::1", "[::1]:80": "::1", "[::1]:": "::1", "[::ffff:127.0.0.1]:80": "::ffff:127.0.0.1",
	} {
		if name, ok := Hostname(host); !ok || name != want {
			t.Errorf("%q is %q, %t", host, name, ok)
		}
	}
	for _, host := range []string{
		"db:99999", "db:99999;x", "db:secret", "db:80,secret", "db:80@secret", "db:+80", "db:-1", "db: 80", "db:80:80", "db::80", "::1", "::1:80",
		"[db]", "[db]:80", "[127.0.0.1]", "[::1", "[::1]80", "[::1]:x", "[::1]x:80", "[]", "[", "http://db",
	} {
		if name, ok := Hostname(host); ok {
			t.Errorf("%q is taken for the host %q", host, name)
		}
	}
}
