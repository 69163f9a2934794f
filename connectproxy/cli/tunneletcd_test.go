package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy"
)

// withEtcd is the context of a program that is built with etcd.
func withEtcd(t *testing.T) context.Context {
	t.Helper()
	return WithResolvers(t.Context(), Resolvers{config.EtcdKeys: func(config.Destination, hclog.Logger) connectproxy.Resolver { return nil }})
}

// printedWithEtcd is printedFile of that program.
func printedWithEtcd(t *testing.T, line string) (text, problems string, code int) {
	t.Helper()
	var out, errs strings.Builder
	code = Run(withEtcd(t), append(strings.Fields(line), "-print-config"), &out, &errs)
	return out.String(), errs.String(), code
}

func TestAOneLinerWithEtcdIsTheFileThatItPrints(t *testing.T) {
	for line, want := range map[string]config.Etcd{
		"tls-client -src :16379 -srv /srv/redis/debug -dsc http://etcd0:2379 -tlscertpath /d -verify dns:redis.example.org": {Endpoints: "http://etcd0:2379"},
		"tls-client -src :16379 -srv /srv/redis/debug -dsc https://etcd0:2379,https://etcd1:2379 -dsc https://etcd2:2379 -dsc-cacert /e/ca.pem -dsc-cert /e/cert.pem -dsc-key /e/key.pem -dsc-user proxy -dsc-password-file /e/word -tlscertpath /d -verify cn:redis": {
			Endpoints: "https://etcd0:2379\nhttps://etcd1:2379\nhttps://etcd2:2379",
			CAFile:    "/e/ca.pem", CertFile: "/e/cert.pem", KeyFile: "/e/key.pem", Username: "proxy", PasswordFile: "/e/word",
		},
		"tunnel -src :16379 -srv /srv/redis/debug -dsc http://127.0.0.1:2379 -allow-plaintext-dst": {Endpoints: "http://127.0.0.1:2379"},
	} {
		text, problems, code := printedWithEtcd(t, line)
		if code != exitDrained || problems != "" {
			t.Fatalf("%s: exit code %d: %s", line, code, problems)
		}
		file, err := config.Parse("printed.hcl", []byte(text))
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		d := file.Upstreams[0].Destination
		if d.Type != config.EtcdKeys || d.Name != "/srv/redis/debug" || file.Upstreams[0].Balance != config.Ordered {
			t.Errorf("%s: %+v", line, file.Upstreams[0])
		}
		if diff := cmp.Diff(want, d.Etcd); diff != "" {
			t.Errorf("%s:\n%s", line, diff)
		}
	}
}

func TestAProgramWithoutEtcdSaysWhichOneHasIt(t *testing.T) {
	const has = "make build-etcd"
	for _, flags := range []string{
		"-srv /srv/redis/debug -dsc http://etcd0:2379", "-dsc http://etcd0:2379", "-srv /srv/redis", "-dsc-user proxy",
		"-srv /srv/redis/debug -dsc http://etcd0:2379 -print-config", "-srv / -dsc http://u:hunter2@etcd0:2379",
	} {
		for _, command := range []string{"tls-client", "tunnel"} {
			var out, errs strings.Builder
			code := Run(t.Context(), append([]string{command, "-src", ":1"}, strings.Fields(flags)...), &out, &errs)
			if code != exitUsage || out.Len() > 0 || strings.Count(errs.String(), "\n") != 1 || !strings.Contains(errs.String(), command+": -srv and -dsc: ") ||
				!strings.Contains(errs.String(), has) || strings.Contains(errs.String(), "hunter2") {
				t.Errorf("%s %s: exit code %d, %s%s", command, flags, code, &out, &errs)
			}
		}
	}
	for _, help := range []string{helpText(), kindOf(t, "tls-client").help, kindOf(t, "tunnel").help} {
		if !strings.Contains(help, "-srv PREFIX") || !strings.Contains(help, has) {
			t.Errorf("the help does not say it:\n%s", help)
		}
	}
}

func TestAMistakeAboutEtcdInAOneLinerIsALineThatNamesItsFlag(t *testing.T) {
	const client, tunnel = "tls-client -src :1 -tlscertpath /d -verify cn:a ", "tunnel -src :1 "
	for line, says := range map[string]string{
		client + "-dsc http://etcd0:2379":                                                         "-srv is missing",
		client + "-srv / -dsc http://etcd0:2379":                                                  "-srv is missing",
		client + "-srv /srv":                                                                      "-dsc is missing",
		client + "-srv /srv -dsc http://etcd0":                                                    "-dsc: number 1 is not",
		client + "-srv /srv -dsc http://etcd0:2379,":                                              "-dsc: number 2 is not",
		client + "-srv /srv -dsc http://etcd0:2379,https://etcd1:2379":                            "-dsc: use http or https for all",
		client + "-srv /srv -dsc http://etcd0:2379 -dst 10.0.0.1:1":                               "-dst and -srv: give one",
		client + "-srv /srv -dsc http://etcd0:2379 -dsc-cacert f":                                 "-dsc: the certificates are for https",
		client + "-srv /srv -dsc https://etcd0:2379 -dsc-cert f":                                  "-dsc-key: missing",
		client + "-srv /srv -dsc https://etcd0:2379 -dsc-user u":                                  "-dsc-password-file: missing",
		client + "-srv /srv -dsc http://etcd0:2379 -dsc-user u -dsc-password-file f":              "-dsc-user: the password would go to http://etcd0:2379 in the clear",
		client + "-srv /srv -dsc https://u:hunter2@etcd0:2379":                                    "-dsc: number 1 is not",
		client + "-srv /srv -dsc https://u:hunter2\x01@etcd0:2379":                                "-dsc or -dsc-user has bytes",
		client + "-srv /srv\x01 -dsc https://etcd0:2379":                                          "has bytes in it",
		client + "-srv /srv -dsc https://etcd0:2379 -dsc-user u:hunter2 -dsc-password-file f":     "-dsc-user: a name alone",
		client + "-srv /srv -dsc https://etcd0:2379 -dsc-user u:hunter2\x01 -dsc-password-file f": "-dsc or -dsc-user has bytes",
		"tls-client -src :1 -tlscertpath /d -srv /srv -dsc http://etcd0:2379":                     "-verify: missing: a key in etcd could name anyone",
		tunnel + "-srv /srv -dsc http://127.0.0.1:2379":                                           "-srv /srv: the way to the instances is without TLS",
		"tunnel -src 0.0.0.0:1 -srv /srv -dsc http://127.0.0.1:2379 -allow-plaintext-dst":         "-allow-plaintext-src",
		"tls-server -src :1 -srv /srv -dsc http://127.0.0.1:2379 -tlscertpath /d":                 "flag provided but not defined: -srv",
	} {
		text, problems, code := printedWithEtcd(t, line)
		first, _, _ := strings.Cut(problems, "\n")
		if code != exitUsage || text != "" || !strings.Contains(first, says) || strings.Contains(problems, "hunter2") {
			t.Errorf("%q: exit code %d, %s%s", line, code, text, problems)
		}
	}
}

func TestNoPrintedFileHasThePasswordForEtcd(t *testing.T) {
	word := filepath.Join(t.TempDir(), "word")
	if err := os.WriteFile(word, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text, problems, _ := printedWithEtcd(t, "tunnel -src :1 -srv /srv -dsc https://etcd0:2379 -dsc-user u -allow-plaintext-dst -dsc-password-file "+word)
	if strings.Contains(text+problems, "hunter2") || !strings.Contains(text, word) {
		t.Errorf("%s%s", text, problems)
	}
}
