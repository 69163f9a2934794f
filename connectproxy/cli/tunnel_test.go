package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/testca"
	"connect-proxy/listener/listenertest"
)

// printedFile is the file that the flags come to, or what is wrong with them.
func printedFile(t *testing.T, args ...string) (text, problems string, code int) {
	t.Helper()
	var out, errs strings.Builder
	code = Run(t.Context(), append(args, "-print-config"), &out, &errs)
	return out.String(), errs.String(), code
}

func TestAOneLinerIsTheFileThatItPrints(t *testing.T) {
	for name, args := range map[string][]string{
		"client":            {"tls-client", "-src", ":16379", "-dst", "10.0.3.144:6379", "-tlscertpath", "/etc/redis/tls"},
		"client of several": {"tls-client", "-src", "[::1]:16379", "-dst", "10.0.3.144:6379", "-dst", "redis.example.org:6379", "-cert", "/a/c", "-key", "/a/k", "-cacert", `/a/${x} %{y} "z"\ü`, "-verify", "dns:*.example.org", "-verify", "cn:a b", "-balance", "round_robin"},
		"client of an SRV":  {"tls-client", "-src", "unix:/run/x.sock", "-dst", "_redis._tcp.example.org", "-verify", "dns:*.example.org", "-tlscertpath", "/d"},
		"client for others": {"tls-client", "-src", "0.0.0.0:16379", "-allow-plaintext-src", "-dst", "10.0.3.144:6379", "-tlscertpath", "/d"},
		"server":            {"tls-server", "-src", ":6380", "-dst", ":6379", "-tlscertpath", "/d"},
		"server for some":   {"tls-server", "-src", "10.0.0.1:6380", "-dst", "unix:/run/redis.sock", "-tlscertpath", "/d", "-key", "/k", "-verify", "spiffe://example.org/ns/*/web"},
		"server elsewhere":  {"tls-server", "-src", ":6380", "-dst", "10.0.0.2:6379", "-allow-plaintext-dst", "-tlscertpath", "/d"},
		"tunnel":            {"tunnel", "-src", ":16379", "-dst", "127.0.0.1:1", "-dst", ":2", "-balance", "ordered"},
		"tunnel elsewhere":  {"tunnel", "-src", ":16379", "-dst", "10.0.0.2:6379", "-allow-plaintext-dst"},
	} {
		t.Run(name, func(t *testing.T) {
			text, problems, code := printedFile(t, args...)
			if code != exitDrained || problems != "" {
				t.Fatalf("exit code %d: %s", code, problems)
			}
			file, err := config.Parse("printed.hcl", []byte(text))
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			k := kindOf(t, args[0])
			o := tunnelOptions{kind: k}
			if err := tunnelFlags(&o, new(options)).Parse(args[1:]); err != nil {
				t.Fatal(err)
			}
			again, problemsOf := o.file()
			cfg, more := o.parse(again)
			if len(problemsOf)+len(more) > 0 {
				t.Fatal(problemsOf, more)
			}
			cfg.Mode = config.File
			if diff := cmp.Diff(file, cfg); diff != "" {
				t.Errorf("the file is another configuration:\n%s", diff)
			}
			for i, arg := range args {
				if arg == "-cacert" && file.Identities[0].CA != args[i+1] {
					t.Errorf("the file has %q for %q", file.Identities[0].CA, args[i+1])
				}
			}
		})
	}
}

func kindOf(t *testing.T, name string) tunnelKind {
	t.Helper()
	for _, k := range tunnelKinds {
		if k.name == name {
			return k
		}
	}
	t.Fatalf("no command %s", name)
	return tunnelKind{}
}

func TestPlaintextThatOthersCanReachHasToBeAskedFor(t *testing.T) {
	for _, tc := range []struct{ args, says string }{
		{"tls-client -src 0.0.0.0:1 -dst a:2 -tlscertpath /d", "-allow-plaintext-src"},
		{"tls-client -src 10.0.0.1:1 -dst a:2 -tlscertpath /d", "-allow-plaintext-src"},
		{"tls-client -src web.example.org:1 -dst a:2 -tlscertpath /d", "-allow-plaintext-src"},
		{"tls-server -src :1 -dst 10.0.0.1:2 -tlscertpath /d", "run tls-server there, or allow it with -allow-plaintext-dst"},
		{"tls-server -src :1 -dst redis.example.org:2 -tlscertpath /d", "-allow-plaintext-dst"},
		{"tunnel -src :1 -dst 127.0.0.1:2 -dst 10.0.0.1:2", "-allow-plaintext-dst"},
		{"tunnel -src 0.0.0.0:1 -dst 127.0.0.1:2", "-allow-plaintext-src"},
		{"tunnel -src 0.0.0.0:1 -dst 127.0.0.1:2 -allow-plaintext-dst", "-allow-plaintext-src"},
		{"tunnel -src :1 -dst 10.0.0.1:2 -allow-plaintext-src", "-allow-plaintext-dst"},
	} {
		text, problems, code := printedFile(t, strings.Fields(tc.args)...)
		if code != exitUsage || text != "" || !strings.Contains(problems, tc.says) {
			t.Errorf("%s: exit code %d, %s%s", tc.args, code, text, problems)
		}
	}
	text, _, _ := printedFile(t, "tls-client", "-src", ":1", "-dst", "a:2", "-tlscertpath", "/d")
	if !strings.Contains(text, `local_bind_address = "127.0.0.1"`) {
		t.Errorf("a port alone is not this machine's:\n%s", text)
	}
}

func TestAMistakeInAOneLinerIsALineThatNamesItsFlag(t *testing.T) {
	for args, says := range map[string]string{
		"tls-client -dst a:2 -tlscertpath /d":                             "tls-client: -src is missing",
		"tls-client -src :1 -tlscertpath /d":                              "tls-client: -dst is missing",
		"tls-client -src :1 -dst a:2":                                     "tls-client: -cert is missing",
		"tls-client -src :1 -dst a:2 -cert c -key k":                      "tls-client: -cacert is missing",
		"tls-client -src :1 -dst 10.0.0.1 -tlscertpath /d":                `tls-client: -dst "10.0.0.1": no port`,
		"tls-client -src x -dst a:2 -tlscertpath /d":                      `tls-client: -src "x": no port`,
		"tls-client -src :1 -dst a:2 -tlscertpath /d -verify web":         "tls-client: -verify: \"web\": give spiffe://",
		"tls-client -src :1 -dst a:2 -tlscertpath /d -verify=":            "tls-client: -verify: one of the patterns is empty",
		"tls-server -src :1 -dst :2 -tlscertpath /d -verify=":             "tls-server: -verify: \"\": it is empty",
		"tls-client -src :1 -dst a:2 -tlscertpath /d -verify spiffe://*":  "tls-client: -verify: ",
		"tls-client -src :1 -dst a:2 -tlscertpath /d -balance best":       "tls-client: -balance: use",
		"tls-client -src :1 -dst _redis._tcp.example.org -tlscertpath /d": "tls-client: -verify: missing: an SRV record",
		"tls-client -src :1 -dst unix:/x -tlscertpath /d":                 "tls-client: -dst: ",
		"tls-server -src :1 -dst :2 -dst :3 -tlscertpath /d":              "tls-server: -dst is given more than once",
		"tls-server -src :1 -dst :1 -tlscertpath /d":                      "tls-server: -dst: the address of the public listener itself",
		"tunnel -src :1 -dst 127.0.0.1:2 -cert x":                         "tunnel: flag provided but not defined: -cert",
		"tunnel -src :1 -dst 127.0.0.1:2 stray":                           `tunnel: "stray" is neither`,
		"tunnel -src :1 -dst 127.0.0.1:2 -log-level loud":                 "tunnel: -log-level: loud",
	} {
		_, problems, code := printedFile(t, strings.Fields(args)...)
		first, _, _ := strings.Cut(problems, "\n")
		if strings.HasSuffix(args, "stray") { // what follows is no flag any more
			first = problems
		}
		if code != exitUsage || !strings.Contains(first, says) || !strings.HasSuffix(problems, "see connect-proxy "+strings.Fields(args)[0]+" -help\n") {
			t.Errorf("%s: exit code %d, %s", args, code, problems)
		}
	}
	dir := t.TempDir()
	run := func(args ...string) string {
		var out, errs strings.Builder
		args = append([]string{"tls-client", "-src", "127.0.0.1:1", "-dst", "127.0.0.1:2"}, append(args, "-admin-addr", "off", "-log-level", "off")...)
		if code := Run(t.Context(), args, &out, &errs); code != exitUsage {
			t.Errorf("%q: exit code %d", args, code)
		}
		return errs.String()
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(in("cert"), []byte("not PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		run("-tlscertpath", dir):                                   "tls-client: -tlscertpath: " + in("cert.pem") + " does not exist",
		run("-tlscertpath", dir, "-key", in("k")):                  "tls-client: -key: " + in("k") + " does not exist",
		run("-cert", in("c"), "-key", in("k"), "-cacert", in("a")): "tls-client: -cacert: " + in("a") + " does not exist",
		run("-tlscertpath", dir, "-cert", in("cert")):              "tls-client: -cert: " + in("cert") + " holds no certificate",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	var out, errs strings.Builder
	if code := Run(t.Context(), []string{"tls-server", "-src", fmt.Sprintf("127.0.0.1:%d", agenttest.FreePort(t)), "-dst", ":1", "-tlscertpath", dir, "-admin-addr", "off", "-log-level", "off"}, &out, &errs); code != exitUsage ||
		strings.Count(errs.String(), "\n") != 3 || strings.Count(errs.String(), dir) != 3 || !strings.Contains(errs.String(), filepath.Join(dir, "cert.pem")+" does not exist") {
		t.Errorf("exit code %d, %s", code, errs.String())
	}
}

// startCommand runs the program until the test ends.
func startCommand(t *testing.T, args ...string) {
	t.Helper()
	log := &agenttest.Log{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() { done <- Run(ctx, append(args, "-admin-addr", "off", "-drain-timeout", "1s"), io.Discard, log) }()
	t.Cleanup(func() {
		cancel()
		if code := <-done; code != exitDrained {
			t.Errorf("%s: exit code %d", args[0], code)
		}
		if t.Failed() {
			t.Logf("log of %v:\n%s", args, log)
		}
	})
}

// echoes waits until a line sent to the port comes back.
func echoes(t *testing.T, port int, line string) {
	t.Helper()
	agenttest.Eventually(t, soon, func() error {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(soon))
		if _, err := io.WriteString(c, line+"\n"); err != nil {
			return err
		}
		got, err := bufio.NewReader(c).ReadString('\n')
		if err == nil && got != line+"\n" {
			err = fmt.Errorf("got %q", got)
		}
		return err
	})
}

func TestOneLinersCarryTrafficAndSoDoTheFilesThatTheyPrint(t *testing.T) {
	ca, app := testca.New(t, "ours"), listenertest.NewEcho(t)
	server, client := t.TempDir(), t.TempDir()
	ca.Write(t, server, ca.Issue(t, []string{"ip:127.0.0.1"}))
	ca.Write(t, client, ca.Issue(t, []string{"cn:web"}))
	for _, as := range []string{"flags", "files"} {
		t.Run(as, func(t *testing.T) {
			ports := agenttest.FreePorts(t, 3)
			at := func(n int) string { return fmt.Sprintf("127.0.0.1:%d", ports+n) }
			for n, args := range [][]string{
				{"tls-server", "-src", at(0), "-dst", app.Addr(), "-tlscertpath", server, "-verify", "cn:web"},
				{"tls-client", "-src", at(1), "-dst", at(0), "-tlscertpath", client},
				{"tunnel", "-src", at(2), "-dst", "127.0.0.1:1", "-dst", at(1), "-balance", "ordered"},
			} {
				if as == "flags" {
					startCommand(t, args...)
					continue
				}
				text, problems, _ := printedFile(t, args...)
				file := filepath.Join(t.TempDir(), fmt.Sprintf("%d.hcl", n))
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err, problems)
				}
				startCommand(t, "-config-file", file)
			}
			echoes(t, ports+2, "through all three")
		})
	}
}
