package config

import (
	"errors"
	"strings"
	"testing"
)

// inEtcd is a file with an upstream whose instances are in etcd.
func inEtcd(name, settings string) string {
	return `upstream {
  destination_type = "etcd"
  destination_name = "` + name + `"
  local_bind_port  = 9191
  identity         = "plaintext"
` + settings + "\n}\n"
}

func TestInstancesCanBeInEtcd(t *testing.T) {
	c, err := Parse("x.hcl", []byte(inEtcd("/srv/redis/debug", `  etcd_endpoints = ["https://etcd0:2379", "https://etcd1:2379"]
  etcd_ca_file = "ca.pem"
  etcd_username = "proxy"
  etcd_password_file = "word"`)))
	if err != nil {
		t.Fatal(err)
	}
	full := c.WithDefaults()
	if m := full.Validate(); len(m) > 0 {
		t.Fatal(m)
	}
	want := Etcd{Endpoints: "https://etcd0:2379\nhttps://etcd1:2379", CAFile: "ca.pem", Username: "proxy", PasswordFile: "word"}
	if d := full.Upstreams[0].Destination; d.Etcd != want || d.Type != EtcdKeys || d.String() != "/srv/redis/debug" || len(d.Etcd.EndpointList()) != 2 {
		t.Errorf("%+v", d)
	}
}

func TestMistakesAboutEtcdAreNamed(t *testing.T) {
	for name, c := range map[string]struct{ prefix, settings, want string }{
		"no endpoint":             {"/srv", "", "etcd_endpoints: missing"},
		"no prefix":               {"/", `etcd_endpoints = ["http://etcd0:2379"]`, "missing: name what the keys begin with"},
		"no port":                 {"/srv", `etcd_endpoints = ["http://etcd0"]`, "number 1 is not http://HOST:PORT"},
		"a user in it":            {"/srv", `etcd_endpoints = ["http://etcd0:2379", "http://u@etcd0:2379"]`, "number 2 is not http://HOST:PORT"},
		"a word after it":         {"/srv", `etcd_endpoints = ["http://etcd0:2379#word"]`, "number 1 is not http://HOST:PORT"},
		"two schemes":             {"/srv", `etcd_endpoints = ["http://etcd0:2379", "https://etcd1:2379"]`, "use http or https for all"},
		"a password in the clear": {"/srv", "etcd_endpoints = [\"http://etcd0:2379\"]\n  etcd_username = \"u\"\n  etcd_password_file = \"f\"", "in the clear"},
		"a user alone":            {"/srv", "etcd_endpoints = [\"https://etcd0:2379\"]\n  etcd_username = \"u\"", "a user goes with a password"},
		"a certificate alone":     {"/srv", "etcd_endpoints = [\"https://etcd0:2379\"]\n  etcd_cert_file = \"f\"", "a certificate goes with its key"},
		"certificates for http":   {"/srv", "etcd_endpoints = [\"http://etcd0:2379\"]\n  etcd_ca_file = \"f\"", "the certificates are for https"},
	} {
		c2, err := Parse("x.hcl", []byte(inEtcd(c.prefix, "  "+c.settings)))
		if err == nil {
			var lines []string
			for _, m := range c2.WithDefaults().Validate() {
				lines = append(lines, m.String())
			}
			err = errors.New(strings.Join(lines, "\n"))
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAPasswordInAURLOfAFileIsNeverShown(t *testing.T) {
	for name, settings := range map[string]string{
		"an endpoint":            `etcd_endpoints = ["http://u:hunter2@etcd0:2379"]`,
		"one of several":         `etcd_endpoints = ["https://etcd0:2379", "https://u:hunter2@etcd1:2379"]`,
		"of two schemes":         `etcd_endpoints = ["https://u:hunter2@etcd0:2379", "http://etcd1:2379"]`,
		"one that is no URL":     `etcd_endpoints = ["https://u:hunter2%zz@etcd0:2379"]`,
		"a slash in it":          `etcd_endpoints = ["https://u:hunter2/x@etcd0:2379"]`,
		"a password that is cut": `etcd_endpoints = ["https://u:` + strings.Repeat("hunter2", 20) + `@etcd0:2379"]`,
		"in a query":             `etcd_endpoints = ["https://etcd0:2379?password=hunter2"]`,
		"after a number sign":    `etcd_endpoints = ["https://etcd0:2379#hunter2"]`,
		"no list":                `etcd_endpoints = "http://u:hunter2@etcd0:2379"`,
		"a list of lists":        `etcd_endpoints = [["http://u:hunter2@etcd0:2379"]]`,
		"a comma is missing":     `etcd_endpoints = ["http://etcd0:2379" "http://u:hunter2@etcd0:2379"]`,
		"quotes are missing":     `etcd_endpoints = [http://u:hunter2@etcd0:2379]`,
		"the end is missing":     `etcd_endpoints = ["http://u:hunter2@etcd0:2379`,
		"a variable in it":       `etcd_endpoints = ["http://u:${x}hunter2@etcd0:2379"]`,
		"a key that is not one":  `etcd_endpoint = ["http://u:hunter2@etcd0:2379"]`,
		"given twice":            "etcd_endpoints = [\"http://u:hunter2@etcd0:2379\"]\n  etcd_endpoints = [\"http://u:hunter2@etcd0:2379\"]",
		"as an address":          `destination_addresses = ["http://u:hunter2@etcd0:2379"]`,
		"as the name's twin":     `destination_name = "http://u:hunter2@etcd0:2379"`,
		"as a file and a number": "etcd_endpoints = []\n  etcd_ca_file = 1\n  balance = \"http://u:hunter2@etcd0:2379\"",
	} {
		_, err := Parse("x.hcl", []byte(inEtcd("/srv", "  "+settings)))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
