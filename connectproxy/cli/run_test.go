package cli

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden files anew")

// asProgram has the test binary be the program: a signal's effect and an exit
// code are only seen from outside.
const asProgram = "CONNECT_PROXY_TEST_RUN"

// rootsDirectoryVariable gives the program of a test another rootsDirectory: other
// proxies may run on this machine.
const rootsDirectoryVariable = "CONNECT_PROXY_TEST_ROOTS_DIRECTORY"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		rootsDirectory = cmp.Or(os.Getenv(rootsDirectoryVariable), rootsDirectory)
		os.Exit(Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

// variables are those that the program reads.
var variables = []string{
	"CONNECT_PROXY_ACCESS_LOG",
	"CONNECT_PROXY_ID", "CONNECT_PROXY_TOKEN", "CONNECT_SIDECAR_FOR", "CONNECT_PROXY_ADMIN",
	"CONSUL_HTTP_ADDR", "CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE", "CONSUL_HTTP_AUTH",
	"CONSUL_HTTP_SSL", "CONSUL_HTTP_SSL_VERIFY", "CONSUL_CACERT", "CONSUL_CAPATH",
	"CONSUL_CLIENT_CERT", "CONSUL_CLIENT_KEY", "CONSUL_TLS_SERVER_NAME",
	"CONSUL_NAMESPACE", "CONSUL_PARTITION",
}

// program runs the program in this process, in an empty environment and with a
// context that is done: what gets as far as running a proxy drains at once.
func program(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	for _, name := range variables {
		if os.Getenv(name) != "" {
			t.Setenv(name, "")
		}
	}
	return programInEnvironment(t, args...)
}

func programInEnvironment(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	code = Run(ctx, args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestWrongUsageExits2AndSaysWhatToDo(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		says []string
	}{
		"nothing to run": {nil,
			[]string{"give one of -proxy-id, -sidecar-for, -config-file or -service"}},
		"an unknown flag": {[]string{"-proxyid", "web"}, []string{"-proxyid"}},
		"a flag without its value": {[]string{"-proxy-id"},
			[]string{"flag needs an argument: -proxy-id"}},
		"an empty source":    {[]string{"-proxy-id", ""}, []string{"-proxy-id is empty"}},
		"a word too many":    {[]string{"-proxy-id", "web", "now"}, []string{`"now" is neither`}},
		"an unknown command": {[]string{"start"}, []string{`"start" is no command`, "validate"}},
		"an empty command":   {[]string{""}, []string{`"" is no command`}},
		"two sources": {[]string{"-proxy-id", "web", "-sidecar-for", "web"},
			[]string{"-proxy-id and -sidecar-for exclude each other"}},
		"three sources": {[]string{"-service", "web", "-config-file", "web.hcl", "-proxy-id", "web"},
			[]string{"-proxy-id and -config-file and -service exclude each other"}},
		"a listener for a registered proxy": {[]string{"-proxy-id", "web", "-listen", ":1"},
			[]string{"-listen and -proxy-id exclude each other"}},
		"an upstream beside a file": {[]string{"-config-file", "web.hcl", "-upstream", "db:1"},
			[]string{"-upstream and -config-file exclude each other"}},
		"an upstream for nobody": {[]string{"-upstream", "db:8181"},
			[]string{"-upstream without -service"}},
		"a service with nothing to do": {[]string{"-service", "web"},
			[]string{"-service without -listen, -upstream, -by-name-addr, -micro-addr or -edge-addr"}},
		"an application that nobody can call": {[]string{"-server-name", "web", "-server-address", "127.0.0.1:9090"},
			[]string{"-server-name without -listen"}},
		"an application that is nowhere": {[]string{"-server-name", "web", "-listen", ":8443"},
			[]string{"-listen without -service-addr"}},
		"an application without a name": {[]string{"-service", "web", "-listen", ":8443", "-server-address", "127.0.0.1:9090"},
			[]string{"-server-address or -healthcheck-url without -server-name"}},
		"an application of another name": {[]string{"-service", "web", "-server-name", "shop", "-server-address", "127.0.0.1:9090", "-listen", ":8443"},
			[]string{`-server-name: "shop": not the service`}},
		"an application beside a file": {[]string{"-config-file", "web.hcl", "-server-name", "web"},
			[]string{"-server-name and -config-file exclude each other"}},
		"a health check that is no URL": {[]string{"-server-name", "web", "-server-address", ":9090", "-listen", ":8443", "-healthcheck-url", "127.0.0.1:9090/health"},
			[]string{"-healthcheck-url: not a URL"}},
		"an edge nowhere": {[]string{"-service", "web", "-upstream", "db:1", "-edge-hosts", "a.example.com"},
			[]string{"-edge-hosts", "without -edge-addr"}},
		"an edge without a certificate": {[]string{"-service", "web", "-edge-addr", ":8443", "-edge-hosts", "localhost", "-edge-allow", "db"},
			[]string{"-edge-cert-file: missing", "-edge-hosts", "not a full name"}},
		"names to register nowhere": {[]string{"-service", "web", "-upstream", "db:1", "-micro-register", "web"},
			[]string{"-micro-register", "without -micro-addr"}},
		"names that cannot be registered": {[]string{"-service", "web", "-micro-addr", ":8081", "-micro-allow", "*", "-micro-register", "web,db@dc2"},
			[]string{"-micro-register", "agent's own datacenter"}},
		"names to register beside a file": {[]string{"-config-file", "web.hcl", "-micro-register", "web"},
			[]string{"-micro-register and -config-file exclude each other"}},
		"a public listener for nothing": {[]string{"-service", "web", "-listen", ":8443"},
			[]string{"-listen without -service-addr"}},
		"an application nobody can reach": {[]string{"-service", "web", "-service-addr", ":8080"},
			[]string{"-service-addr without -listen"}},
		"a registered proxy registered again": {[]string{"-sidecar-for", "web", "-register"},
			[]string{"-register and -sidecar-for exclude each other"}},
		"a registration without a listener": {[]string{"-service", "web", "-upstream", "db:1", "-register"},
			[]string{"-register without -listen"}},
		"an ID for no registration": {[]string{"-service", "web", "-upstream", "db:1", "-register-id", "2"},
			[]string{"-register-id without -register"}},
		"a drain without a unit": {[]string{"-proxy-id", "web", "-drain-timeout", "30"},
			[]string{"-drain-timeout: 30", "as 30s"}},
		"a drain that ended before it began": {[]string{"-proxy-id", "web", "-drain-timeout", "-3s"},
			[]string{"-drain-timeout: -3s"}},
		"an unknown log level": {[]string{"-proxy-id", "web", "-log-level", "loud"},
			[]string{"-log-level: loud", "trace, debug, info, warn, error, off"}},
		"an admin address that others reach": {[]string{"-proxy-id", "web", "-admin-addr", "0.0.0.0:19000"},
			[]string{"0.0.0.0:19000", "loopback"}},
		"a pprof address that is none": {[]string{"-proxy-id", "web", "-pprof-addr", "6060"},
			[]string{"-pprof-addr", "6060"}},
		"a token file that is missing": {[]string{"-proxy-id", "web", "-token-file", "no-such-token"},
			[]string{"reading the token file", "no-such-token"}},
		"a CA file that is missing": {[]string{"-proxy-id", "web", "-http-addr", "https://127.0.0.1:8501", "-ca-file", "no-such-ca"},
			[]string{"no-such-ca"}},
		"a certificate without its key": {[]string{"-proxy-id", "web", "-client-cert", "cert.pem"},
			[]string{"-client-cert", "-client-key"}},
		"an agent by an unknown protocol": {[]string{"-proxy-id", "web", "-http-addr", "ftp://127.0.0.1"},
			[]string{"-http-addr", "ftp"}},
		"the same port twice": {[]string{"-service", "web", "-upstream", "db:8181", "-upstream", "cache:8181"},
			[]string{"-upstream cache:8181", "-upstream db:8181"}},
		"names without a port for them": {[]string{"-service", "web", "-upstream", "db:8181", "-by-name-allow", "api"},
			[]string{"-by-name-allow", "-by-name-addr"}},
		"a port for names of which none is allowed": {[]string{"-service", "web", "-by-name-addr", "127.0.0.1:1080"},
			[]string{"-by-name-addr without -by-name-allow"}},
		"several mistakes at once": {[]string{"-service", "web", "-listen", ":8443", "-by-name-addr", "127.0.0.1:1080", "-micro-addr", "127.0.0.1:8081"},
			[]string{"-listen without -service-addr", "-by-name-addr without -by-name-allow", "-micro-addr without -micro-allow"}},
		"a name that is none": {[]string{"-service", "web", "-by-name-addr", ":1080", "-by-name-allow", "team *"},
			[]string{"-by-name-allow", `"team *"`}},
		"a port for names on another address": {[]string{"-service", "web", "-by-name-addr", "10.0.0.1:1080", "-by-name-allow", "db,api"},
			[]string{"-by-name-addr", "not on loopback", "-by-name-remote-clients"}},
		"a port out of range": {[]string{"-service", "web", "-upstream", "db:81810"},
			[]string{`-upstream "db:81810"`, "1 to 65535"}},
		"no file to validate":  {[]string{"validate"}, []string{"name at least one file"}},
		"a flag of validate's": {[]string{"validate", "-fast", "web.hcl"}, []string{"-fast"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := program(t, tc.args...)
			if code != exitUsage {
				t.Errorf("exit code %d, want %d", code, exitUsage)
			}
			if stdout != "" {
				t.Errorf("on standard output: %q", stdout)
			}
			for _, want := range tc.says {
				if !strings.Contains(stderr, want) {
					t.Errorf("%q is not in %q", want, stderr)
				}
			}
		})
	}
}

func TestEveryMistakeOnTheCommandLineIsNamedAtOnce(t *testing.T) {
	code, _, stderr := program(t, "-service", "web", "-listen", ":70000", "-service-addr", "localhost",
		"-upstream", "db", "-upstream", "cache:127.0.0.1", "-drain-timeout", "soon", "-log-level", "loud", "-register-id", "2")
	if code != exitUsage {
		t.Errorf("exit code %d, want %d", code, exitUsage)
	}
	for _, want := range []string{`":70000"`, `"localhost"`, `"db"`, `"cache:127.0.0.1"`, "soon", "loud", "-register-id"} {
		if n := strings.Count(stderr, want); n != 1 {
			t.Errorf("%s is named %d times in\n%s", want, n, stderr)
		}
	}
	for line := range strings.Lines(stderr) {
		if !strings.HasPrefix(line, "connect-proxy: ") {
			t.Errorf("a line that does not say whose it is: %q", line)
		}
	}
}

func TestHelpShowsEveryModeAndEveryFlag(t *testing.T) {
	golden(t, "help", helpText()+"\n")
	for _, args := range [][]string{{"-help"}, {"-h"}, {"--help"}, {"help"}, {"-proxy-id", "web", "-h"}} {
		code, stdout, stderr := program(t, args...)
		if code != 0 || stderr != "" {
			t.Errorf("%q: exit code %d, standard error %q", args, code, stderr)
		}
		if strings.TrimSpace(stdout) != strings.TrimSpace(helpText()) {
			t.Errorf("%q does not print the help", args)
		}
	}
	inGroups := map[string]int{}
	for _, g := range flagGroups {
		for _, name := range g.names {
			inGroups[name]++
		}
	}
	new(options).flagSet().VisitAll(func(f *flag.Flag) {
		if inGroups[f.Name] != 1 {
			t.Errorf("-%s is below %d headings of the help, not one", f.Name, inGroups[f.Name])
		}
		delete(inGroups, f.Name)
	})
	for name := range inGroups {
		t.Errorf("the help lists -%s, which is no flag", name)
	}
}

func TestVersionIsTheSameByEveryName(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"-version"}, {"--version"}, {"-v"}} {
		code, stdout, stderr := program(t, args...)
		if code != 0 || stdout != versionText()+"\n" || stderr != "" {
			t.Errorf("%q: exit code %d, %q, %q", args, code, stdout, stderr)
		}
	}
}

func TestCommandsExplainThemselves(t *testing.T) {
	for command, want := range map[string]string{"validate": validateHelp, "version": versionHelp} {
		code, stdout, _ := program(t, command, "-h")
		if code != 0 || strings.TrimSpace(stdout) != want {
			t.Errorf("%s -h: exit code %d, %q", command, code, stdout)
		}
	}
}

func TestAProxyThatIsAskedToStopExits0(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.hcl")
	write(t, file, `service_name = "web"
upstream {
  destination_name = "db"
  local_bind_port  = 18181
}
`)
	for name, args := range map[string][]string{
		"by flags":      {"-service", "web", "-upstream", "db:18181"},
		"by file":       {"-config-file", file},
		"by ID":         {"-proxy-id", "web-proxy"},
		"as a sidecar":  {"-sidecar-for", "web"},
		"with profiles": {"-proxy-id", "web-proxy", "-pprof-addr", "127.0.0.1:0"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := program(t, append(args, "-http-addr", "127.0.0.1:1")...)
			if code != exitDrained || stdout != "" {
				t.Errorf("exit code %d, standard output %q, standard error\n%s", code, stdout, stderr)
			}
			if !strings.Contains(stderr, "starting connect-proxy: version="+version) {
				t.Errorf("the start is not logged:\n%s", stderr)
			}
		})
	}
}

func TestAFirstConfigurationThatIsInvalidExits2(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.hcl")
	write(t, file, "service_name = \"web\"\nlocal_port = 3\nupstream {\n  destination_name = \"db\"\n}\n")
	for name, args := range map[string][]string{
		"run":        {"-config-file", file},
		"registered": {"-config-file", file, "-register"},
		"validated":  {"validate", file},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			if code := Run(t.Context(), args, &stderr, &stderr); code != exitUsage {
				t.Errorf("exit code %d, want %d", code, exitUsage)
			}
			for _, want := range []string{file + ":2: ", "local_port", file + ":3: "} {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("%q is not in\n%s", want, stderr.String())
				}
			}
		})
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// golden compares with testdata/<name>.golden, which -update writes.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("..", "..", "testdata", name+".golden")
	if *update {
		write(t, file, got)
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is out of date; go test -run %s ./connectproxy/cli -update writes it anew. Got:\n%s", file, t.Name(), got)
	}
}
