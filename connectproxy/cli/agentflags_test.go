package cli

import (
	"slices"
	"strings"
	"testing"
)

// fakeEnv is an environment of the test's own.
func fakeEnv(vars map[string]string) lookupEnv {
	return func(name string) string { return vars[name] }
}

func TestTheTokenIsTheMostSpecificOneGiven(t *testing.T) {
	everything := map[string]string{
		"CONNECT_PROXY_TOKEN":    "proxy",
		"CONSUL_HTTP_TOKEN_FILE": "inherited.txt",
		"CONSUL_HTTP_TOKEN":      "inherited",
	}
	for name, tc := range map[string]struct {
		flags       agentFlags
		env         map[string]string
		token, file string
	}{
		"none":                           {},
		"the file's flag first":          {agentFlags{token: "flag", tokenFile: "flag.txt"}, everything, "flag", "flag.txt"},
		"then the flag":                  {agentFlags{token: "flag"}, everything, "flag", ""},
		"then the agent's for us":        {agentFlags{}, everything, "proxy", ""},
		"then the inherited file":        {agentFlags{}, map[string]string{"CONSUL_HTTP_TOKEN_FILE": "inherited.txt", "CONSUL_HTTP_TOKEN": "inherited"}, "inherited", "inherited.txt"},
		"then the inherited one":         {agentFlags{}, map[string]string{"CONSUL_HTTP_TOKEN": "inherited"}, "inherited", ""},
		"an empty value is an unset one": {agentFlags{}, map[string]string{"CONNECT_PROXY_TOKEN": "", "CONSUL_HTTP_TOKEN_FILE": "", "CONSUL_HTTP_TOKEN": "inherited"}, "inherited", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, problems := tc.flags.settings(fakeEnv(tc.env))
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			if s.Token != tc.token || s.TokenFile != tc.file {
				t.Errorf("token %q, file %q; want %q, %q", s.Token, s.TokenFile, tc.token, tc.file)
			}
		})
	}
}

func TestAFlagBeatsItsVariable(t *testing.T) {
	env := map[string]string{
		"CONSUL_HTTP_ADDR": "127.0.0.2:8500", "CONSUL_CACERT": "env-ca", "CONSUL_CAPATH": "env-path",
		"CONSUL_CLIENT_CERT": "env-cert", "CONSUL_CLIENT_KEY": "env-key", "CONSUL_TLS_SERVER_NAME": "env-name",
		"CONSUL_NAMESPACE": "env-ns", "CONSUL_PARTITION": "env-ap",
	}
	flags := agentFlags{
		httpAddr: "127.0.0.3:8500", caFile: "ca", caPath: "path", clientCert: "cert", clientKey: "key",
		tlsServerName: "name", namespace: "ns", partition: "ap", datacenter: "dc2",
	}
	for name, tc := range map[string]struct {
		flags agentFlags
		want  []string
	}{
		"flags":       {flags, []string{"127.0.0.3:8500", "ca", "path", "cert", "key", "name", "ns", "ap", "dc2"}},
		"environment": {agentFlags{}, []string{"127.0.0.2:8500", "env-ca", "env-path", "env-cert", "env-key", "env-name", "env-ns", "env-ap", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			s, problems := tc.flags.settings(fakeEnv(env))
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			got := []string{s.Address, s.TLS.CAFile, s.TLS.CAPath, s.TLS.CertFile, s.TLS.KeyFile,
				s.TLS.Address, s.Namespace, s.Partition, tc.flags.datacenter}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

func TestTheAgentIsDialledWhereItCanBeReached(t *testing.T) {
	for given, want := range map[string]string{
		"":                          "127.0.0.1:8500",
		"127.0.0.1:8501":            "127.0.0.1:8501",
		"0.0.0.0:8501":              "127.0.0.1:8501",
		"[::]:8501":                 "[::1]:8501",
		"[::1]:8501":                "[::1]:8501",
		":8501":                     "127.0.0.1:8501",
		"http://0.0.0.0:8501":       "http://127.0.0.1:8501",
		"https://[::]:8501":         "https://[::1]:8501",
		"https://consul.local:8501": "https://consul.local:8501",
		"unix:///run/consul.sock":   "unix:///run/consul.sock",
		"unix:/run/consul.sock":     "unix:///run/consul.sock",
		"consul.local":              "consul.local",
		"HTTPS://consul.local":      "https://consul.local",
		"http://proxy/consul/":      "http://proxy/consul",
		"http://127.0.0.1:8500/":    "http://127.0.0.1:8500",
		"http://127.0.0.1:8500//":   "http://127.0.0.1:8500",
		"127.0.0.1:8500/":           "127.0.0.1:8500",
		"proxy:80/consul/":          "http://proxy:80/consul",
		"https://0.0.0.0:8501/a/b":  "https://127.0.0.1:8501/a/b",
	} {
		s, problems := new(agentFlags).settings(fakeEnv(map[string]string{"CONSUL_HTTP_ADDR": given}))
		if s.Address != want || len(problems) > 0 {
			t.Errorf("CONSUL_HTTP_ADDR=%s: %q, want %q; %q", given, s.Address, want, problems)
		}
	}
}

func TestAnAddressThatCannotBeMeantIsRefused(t *testing.T) {
	for given, want := range map[string]string{
		"ftp://127.0.0.1":               "http://",
		"http://":                       "the host is missing",
		"/run/consul.sock":              "the host is missing",
		"unix://":                       "a path is missing",
		"::1":                           "[::1]:8500",
		"http://::1:8500":               "[::1]:8500",
		"http://127.0.0.1:8500/?dc=dc2": "ends with the path",
		"http://ops:s3cret@consul:8500": "CONSUL_HTTP_AUTH",
	} {
		_, problems := new(agentFlags).settings(fakeEnv(map[string]string{"CONSUL_HTTP_ADDR": given}))
		text := strings.Join(problems, "\n")
		if !strings.Contains(text, want) || strings.Contains(text, "s3cret") {
			t.Errorf("CONSUL_HTTP_ADDR=%s: %q, want %q in it", given, text, want)
		}
	}
}

func TestTLSToTheAgentFollowsTheEnvironment(t *testing.T) {
	for name, tc := range map[string]struct {
		env           map[string]string
		https, verify bool
		problems      int
	}{
		"nothing said":           {nil, false, true, 0},
		"empty is not said":      {map[string]string{"CONSUL_HTTP_SSL": "", "CONSUL_HTTP_SSL_VERIFY": ""}, false, true, 0},
		"on":                     {map[string]string{"CONSUL_HTTP_SSL": "true"}, true, true, 0},
		"on and unverified":      {map[string]string{"CONSUL_HTTP_SSL": "1", "CONSUL_HTTP_SSL_VERIFY": "false"}, true, false, 0},
		"misspelt, so not taken": {map[string]string{"CONSUL_HTTP_SSL": "on", "CONSUL_HTTP_SSL_VERIFY": "offf"}, false, true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s, problems := new(agentFlags).settings(fakeEnv(tc.env))
			if s.HTTPS != tc.https || s.TLS.InsecureSkipVerify == tc.verify || len(problems) != tc.problems {
				t.Errorf("https %t, verify %t, problems %q", s.HTTPS, !s.TLS.InsecureSkipVerify, problems)
			}
		})
	}
}

func TestATokenOfTheCommandLineMayEndInALine(t *testing.T) {
	for given, want := range map[string]string{"secret\r\n": "secret", " secret ": "secret", "": ""} {
		s, problems := (&agentFlags{token: given}).settings(fakeEnv(nil))
		if len(problems) > 0 || s.Token != want {
			t.Errorf("%q: %q, %q", given, s.Token, problems)
		}
	}
	_, problems := (&agentFlags{token: "SecretID: b1a05eed"}).settings(fakeEnv(nil))
	if len(problems) != 1 || !strings.Contains(problems[0], "-token") || strings.Contains(problems[0], "b1a05eed") {
		t.Errorf("problems %q", problems)
	}
}
