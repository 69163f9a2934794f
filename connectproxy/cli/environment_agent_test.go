package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/connectproxy/agent"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/agentbuild"
)

// doors are the ways into one real agent, and what opens them.
type doors struct {
	http, https         string // port
	plain, secured      string // unix sockets, without and with TLS
	proxy               string // host:port of a reverse proxy that has the API below /consul
	ca, otherCA, caDir  string
	cert, key           string
	token, tokenFile    string
	wrongFile, emptyTxt string
}

func openDoors(t *testing.T) doors {
	t.Helper()
	ca, other := agenttest.NewAuthority(t, "ca"), agenttest.NewAuthority(t, "other")
	paths := agenttest.NewTLSPaths(t, ca, ca, "client")
	// A socket's path has room for a hundred bytes.
	dir, err := os.MkdirTemp("", "doors") //nolint:usetesting // its names are too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := doors{
		plain: filepath.Join(dir, "http.sock"), secured: filepath.Join(dir, "https.sock"),
		ca: paths.CA, otherCA: agenttest.WriteCA(t, other), caDir: filepath.Dir(agenttest.WriteCA(t, ca)),
		cert: paths.Cert, key: paths.Key,
		https:     fmt.Sprint(agenttest.FreePort(t)),
		tokenFile: filepath.Join(dir, "token"), wrongFile: filepath.Join(dir, "wrong"), emptyTxt: filepath.Join(dir, "empty"),
	}
	a := agenttest.Modern(t, agenttest.Options{ACL: true, HCL: []string{fmt.Sprintf(`
ports { https = %s }
addresses {
  http  = "127.0.0.1 unix://%s"
  https = "127.0.0.1 unix://%s"
}
tls { https {
  ca_file = %q
  cert_file = %q
  key_file = %q
  verify_incoming = true
} }
`, d.https, d.plain, d.secured, d.ca, d.cert, d.key)}})
	_, d.http, _ = net.SplitHostPort(a.HTTPAddr)
	d.token = a.Token
	agenttest.WriteFile(t, d.tokenFile, d.token+"\n")
	agenttest.WriteFile(t, d.wrongFile, "no token of this agent\n")
	agenttest.WriteFile(t, d.emptyTxt, "\n")
	to := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: a.HTTPAddr})
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/consul/v1/") {
			http.NotFound(w, r)
			return
		}
		http.StripPrefix("/consul", to).ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	d.proxy = proxy.Listener.Addr().String()
	return d
}

// wayIn is a combination of Consul's variables and flags.
type wayIn struct {
	name string
	env  map[string]string // beside the right token
	args []string
	// may is why one side reaches the agent and the other does not; which one is
	// said by the first word.
	may string
}

func (d doors) ways() []wayIn {
	addr := func(a string) map[string]string { return map[string]string{"CONSUL_HTTP_ADDR": a} }
	with := func(a string, more ...string) map[string]string {
		env := addr(a)
		for i := 0; i < len(more); i += 2 {
			env[more[i]] = more[i+1]
		}
		return env
	}
	tls := func(a string, more ...string) map[string]string {
		return with(a, append([]string{"CONSUL_CACERT", d.ca, "CONSUL_CLIENT_CERT", d.cert, "CONSUL_CLIENT_KEY", d.key}, more...)...)
	}
	h, s := "127.0.0.1:"+d.http, "127.0.0.1:"+d.https
	const (
		lenient = "ours: it can only be meant in one way"
		strict  = "theirs: what is misspelt turns security off"
	)
	ways := []wayIn{
		{"host and port", addr(h), nil, ""},
		{"http", addr("http://" + h), nil, ""},
		{"in capitals", addr("HTTP://" + h), nil, lenient},
		{"a slash at the end", addr("http://" + h + "/"), nil, lenient},
		{"the same without a scheme", addr(h + "/"), nil, lenient},
		{"a name", addr("localhost:" + d.http), nil, ""},
		{"every address", addr("0.0.0.0:" + d.http), nil, ""},
		{"a port alone", addr(":" + d.http), nil, ""},
		{"no port", addr("127.0.0.1"), nil, ""},
		{"IPv6 without brackets", addr("::1:" + d.http), nil, ""},
		{"IPv6 where nobody listens", addr("http://[::1]:" + d.http), nil, ""},
		{"another scheme", addr("tcp://" + h), nil, ""},
		{"a user in the address", addr("http://a:b@" + h), nil, ""},
		{"a path", addr("http://" + d.proxy + "/consul"), nil, ""},
		{"a path with a slash at its end", addr("http://" + d.proxy + "/consul/"), nil, lenient},
		{"a path without a scheme", addr(d.proxy + "/consul"), nil, lenient},
		{"another path", addr("http://" + d.proxy + "/consol"), nil, ""},
		{"a flag for the address", addr("127.0.0.1:1"), []string{"-http-addr=" + h}, ""},

		{"a socket", addr("unix://" + d.plain), nil, ""},
		{"a socket without slashes", addr("unix:" + d.plain), nil, lenient},
		{"a socket that does not exist", addr("unix://" + d.plain + "x"), nil, ""},
		{"a socket, SSL off", with("unix://"+d.plain, "CONSUL_HTTP_SSL", "false"), nil, ""},
		{"a socket, SSL on", tls("unix://"+d.plain, "CONSUL_HTTP_SSL", "true"), nil, ""},
		{"a socket with TLS", tls("unix://"+d.secured, "CONSUL_HTTP_SSL", "true"), nil, ""},
		{"a socket with TLS and a name", tls("unix://"+d.secured, "CONSUL_HTTP_SSL", "true", "CONSUL_TLS_SERVER_NAME", "server.dc1.consul"), nil, ""},
		{"a socket with TLS, not verified", tls("unix://"+d.secured, "CONSUL_HTTP_SSL", "true", "CONSUL_HTTP_SSL_VERIFY", "false"), nil, ""},
		{"a socket with TLS, SSL not on", tls("unix://" + d.secured), nil, ""},
	}
	return append(append(ways, d.tlsWays(h, s, strict, with, tls)...), d.tokenWays(h, with)...)
}

func (d doors) tlsWays(h, s, strict string, with, tls func(string, ...string) map[string]string) []wayIn {
	return []wayIn{
		{"https", tls("https://" + s), nil, ""},
		{"https in capitals", tls("HTTPS://" + s), nil, "ours: it can only be meant in one way"},
		{"https with a slash", tls("https://" + s + "/"), nil, "ours: it can only be meant in one way"},
		{"https by name", tls("https://localhost:" + d.https), nil, ""},
		{"SSL on", tls(s, "CONSUL_HTTP_SSL", "true"), nil, ""},
		{"SSL on against http", tls("http://"+s, "CONSUL_HTTP_SSL", "1"), nil, ""},
		{"SSL off against https", tls("https://"+s, "CONSUL_HTTP_SSL", "false"), nil, ""},
		{"SSL on and a plain port", tls(h, "CONSUL_HTTP_SSL", "true"), nil, ""},
		{"SSL off and a TLS port", tls(s), nil, ""},
		{"SSL misspelt", with(h, "CONSUL_HTTP_SSL", "yes"), nil, strict},
		{"empty variables", tls("https://"+s, "CONSUL_HTTP_SSL", "", "CONSUL_HTTP_SSL_VERIFY", "", "CONSUL_TLS_SERVER_NAME", "", "CONSUL_CAPATH", ""), nil, ""},
		{"no CA", with("https://"+s, "CONSUL_CLIENT_CERT", d.cert, "CONSUL_CLIENT_KEY", d.key), nil, ""},
		{"no CA, not verified", with("https://"+s, "CONSUL_HTTP_SSL_VERIFY", "0", "CONSUL_CLIENT_CERT", d.cert, "CONSUL_CLIENT_KEY", d.key), nil, ""},
		{"verification misspelt", with("https://"+s, "CONSUL_HTTP_SSL_VERIFY", "offf", "CONSUL_CLIENT_CERT", d.cert, "CONSUL_CLIENT_KEY", d.key), nil, strict},
		{"another CA", tls("https://"+s, "CONSUL_CACERT", d.otherCA), nil, ""},
		{"a CA that does not exist, without TLS", with(h, "CONSUL_CACERT", d.ca+"x"), nil, ""},
		{"a directory of CAs", tls("https://"+s, "CONSUL_CACERT", "", "CONSUL_CAPATH", d.caDir), nil, ""},
		{"the right file and another directory", tls("https://"+s, "CONSUL_CAPATH", filepath.Dir(d.otherCA)), nil, ""},
		{"another file and the right directory", tls("https://"+s, "CONSUL_CACERT", d.otherCA, "CONSUL_CAPATH", d.caDir), nil, ""},
		{"no certificate", with("https://"+s, "CONSUL_CACERT", d.ca), nil, ""},
		{"a certificate without a key", tls("https://"+s, "CONSUL_CLIENT_KEY", ""), nil, ""},
		{"a certificate without a key, without TLS", with(h, "CONSUL_CLIENT_CERT", d.cert), nil, ""},
		{"a key that is none", tls("https://"+s, "CONSUL_CLIENT_KEY", d.tokenFile), nil, ""},
		{"the name of the certificate", tls("https://"+s, "CONSUL_TLS_SERVER_NAME", "server.dc1.consul"), nil, ""},
		{"the same with a port", tls("https://"+s, "CONSUL_TLS_SERVER_NAME", "server.dc1.consul:8501"), nil, ""},
		{"another name", tls("https://"+s, "CONSUL_TLS_SERVER_NAME", "elsewhere"), nil, ""},
		{"flags for everything", with("127.0.0.1:1", "CONSUL_CACERT", d.otherCA, "CONSUL_CLIENT_CERT", "no", "CONSUL_CLIENT_KEY", "no", "CONSUL_TLS_SERVER_NAME", "elsewhere"),
			[]string{"-http-addr=https://" + s, "-ca-file=" + d.ca, "-client-cert=" + d.cert, "-client-key=" + d.key, "-tls-server-name=localhost"}, ""},
		{"a flag for the directory", tls("https://"+s, "CONSUL_CACERT", ""), []string{"-ca-path=" + d.caDir}, ""},
	}
}

func (d doors) tokenWays(h string, with func(string, ...string) map[string]string) []wayIn {
	return []wayIn{
		{"no token", with(h, "CONSUL_HTTP_TOKEN", ""), nil, ""},
		{"another token", with(h, "CONSUL_HTTP_TOKEN", "other"), nil, ""},
		{"a token in a file", with(h, "CONSUL_HTTP_TOKEN", "", "CONSUL_HTTP_TOKEN_FILE", d.tokenFile), nil, ""},
		{"the right file beats another token", with(h, "CONSUL_HTTP_TOKEN", "other", "CONSUL_HTTP_TOKEN_FILE", d.tokenFile), nil, ""},
		{"another file beats the right token", with(h, "CONSUL_HTTP_TOKEN_FILE", d.wrongFile), nil, ""},
		{"an empty file leaves the token", with(h, "CONSUL_HTTP_TOKEN_FILE", d.emptyTxt), nil, ""},
		{"a file that does not exist", with(h, "CONSUL_HTTP_TOKEN_FILE", d.emptyTxt+"x"), nil, ""},
		{"a flag beats another file", with(h, "CONSUL_HTTP_TOKEN", "", "CONSUL_HTTP_TOKEN_FILE", d.wrongFile), []string{"-token=" + d.token}, ""},
		{"another token's flag", with(h), []string{"-token=other"}, ""},
		{"a file's flag", with(h, "CONSUL_HTTP_TOKEN", "other"), []string{"-token-file=" + d.tokenFile}, ""},
		{"a file's flag beats a token's", with(h), []string{"-token=other", "-token-file=" + d.tokenFile}, ""},
		{"another file's flag", with(h), []string{"-token-file=" + d.wrongFile}, ""},
		{"an empty file's flag", with(h), []string{"-token-file=" + d.emptyTxt}, ""},
		{"a password", with(h, "CONSUL_HTTP_AUTH", "ops:s3:cret"), nil, ""},
		{"a user alone", with(h, "CONSUL_HTTP_AUTH", "ops"), nil, ""},
		{"a namespace", with(h, "CONSUL_NAMESPACE", "default"), nil, ""},
		{"a partition", with(h, "CONSUL_PARTITION", "default"), nil, ""},
		{"flags for both", with(h), []string{"-namespace=default", "-partition=default"}, ""},
	}
}

// theirs has Consul's own command ask the agent what our token is.
func (w wayIn) theirs(ctx context.Context, consul string) error {
	cmd := exec.CommandContext(ctx, consul, append([]string{"acl", "token", "read", "-self"}, w.args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir()}
	for k, v := range w.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return err
}

// ours asks the same as the proxy would.
func (w wayIn) ours() error {
	var o options
	fs := o.flagSet()
	fs.SetOutput(io.Discard)
	if err := fs.Parse(w.args); err != nil {
		return err
	}
	s, problems := o.agent.settings(fakeEnv(w.env))
	if len(problems) > 0 {
		return fmt.Errorf("%q", problems)
	}
	c, err := agent.NewClient(s, hclog.NewNullLogger())
	if err != nil {
		return err
	}
	defer c.CloseIdleConnections()
	_, _, err = c.ACL().TokenReadSelf(nil)
	return err
}

func TestConsulsOwnVariablesMeanHereWhatTheyMeanToItsCommands(t *testing.T) {
	agenttest.SkipShort(t)
	if runtime.GOOS == "windows" {
		t.Skip("the agent listens on unix sockets, which not every windows has")
	}
	d := openDoors(t)
	consul := agenttest.Build(t, agentbuild.Modern)
	reached := 0
	for _, w := range d.ways() {
		env := map[string]string{"CONSUL_HTTP_TOKEN": d.token}
		maps.Copy(env, w.env)
		w.env = env
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		theirs, ours := w.theirs(ctx, consul), w.ours()
		cancel()
		if theirs == nil && ours == nil {
			reached++
		}
		who, _, _ := strings.Cut(w.may, ":")
		switch {
		case (theirs == nil) == (ours == nil) && w.may == "":
		case theirs != nil && ours == nil && who == "ours", theirs == nil && ours != nil && who == "theirs":
		default:
			t.Errorf("%s (%q):\n  Consul's command: %v\n  ours: %v", w.name, w.may, theirs, ours)
		}
	}
	if reached < 30 {
		t.Errorf("only %d ways reached the agent: the test shows little", reached)
	}
}
