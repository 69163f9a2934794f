package byname_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
)

// getVariable has this test's program get a URL with Go's own client, which reads
// where its proxy is from the environment, once.
const getVariable = "BY_NAME_TEST_GET"

func getForTest(url string) int {
	r, err := http.Get(url)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer r.Body.Close()
	if _, err := io.Copy(os.Stdout, r.Body); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func TestRealClientsOfHTTPReachServicesByName(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %s%s says %s\n", r.Method, r.Host, r.URL.Path, body)
	}))
	defer web.Close()
	c := allowing("web", "web@dc2")
	c.Users = []config.ByNameUser{{Name: "shop", Password: "pass word", Allow: []string{"shop-web"}}}
	address := web.Listener.Addr().String()
	m := &mesh{services: map[string]string{"web": address, "shop-web": address, "web.dc.dc2": address}}
	p := start(t, c, m)
	at := p.Addr().String()
	curl := func(args ...string) []string {
		return append([]string{"-sS", "--max-time", "30", "-d", "hello"}, args...)
	}
	t.Run("curl", func(t *testing.T) {
		for _, how := range [][]string{
			{"--socks5-hostname", at}, {"-x", "socks5h://" + at}, {"-x", "http://" + at}, {"-x", "http://" + at, "--proxytunnel"},
		} {
			agenttest.ProgramSays(t, "POST web/path says hello", nil, "", "curl", curl(append(how, "http://web/path")...)...)
			agenttest.ProgramSays(t, "POST web.service.dc2.consul/path", nil, "", "curl", curl(append(how, "http://web.service.dc2.consul/path")...)...)
		}
		for _, how := range [][]string{
			{"-x", "socks5h://shop:pass%20word@" + at}, {"-x", "http://shop:pass%20word@" + at}, {"-x", "http://" + at, "--proxytunnel", "--proxy-user", "shop:pass word"},
		} {
			agenttest.ProgramSays(t, "POST shop-web/path", nil, "", "curl", curl(append(how, "http://shop-web/path")...)...)
			if out, err := agenttest.RunProgram(t, nil, "", "curl", curl(append(how, "-f", "http://web/path")...)...); err == nil {
				t.Errorf("%q let a user pass who may not: %s", how, out)
			}
		}
		for _, proxy := range []string{"socks5h://" + at, "http://" + at} {
			agenttest.ProgramSays(t, "POST web/path says hello", []string{"ALL_PROXY=" + proxy}, "", "curl", curl("http://web/path")...)
		}
		for how, says := range map[string]string{"--socks5-hostname": "(2)", "-x": "connect-proxy: by_name does not allow secret"} {
			if out, _ := agenttest.RunProgram(t, nil, "", "curl", curl(how, at, "http://secret/")...); !strings.Contains(out, says) {
				t.Errorf("%s: %s", how, out)
			}
		}
		if out, err := agenttest.RunProgram(t, nil, "", "curl", curl("--socks5", at, "http://127.0.0.1/")...); err == nil {
			t.Errorf("an address leads somewhere: %s", out)
		}
	})
	t.Run("Go", func(t *testing.T) {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		for _, proxy := range []string{"http://" + at, "socks5h://" + at, "socks5://" + at} {
			agenttest.ProgramSays(t, "GET web/path says", []string{"HTTP_PROXY=" + proxy, getVariable + "=http://web/path"}, "", self)
		}
		agenttest.ProgramSays(t, "GET shop-web/path says", []string{"HTTP_PROXY=socks5://shop:pass%20word@" + at, getVariable + "=http://shop-web/path"}, "", self)
	})
	t.Run("Python", func(t *testing.T) {
		agenttest.ProgramSays(t, "GET web/path says", []string{"HTTP_PROXY=http://" + at, "http_proxy=http://" + at}, "", "python3", "-c",
			"import urllib.request; print(urllib.request.urlopen('http://web/path').read().decode())")
		agenttest.ProgramSays(t, "GET web/path says", []string{"ALL_PROXY=http://" + at}, "", "python3", "-c",
			"import urllib.request as u; u.install_opener(u.build_opener(u.ProxyHandler({'http': __import__('os').environ['ALL_PROXY']}))); print(u.urlopen('http://web/path').read().decode())")
	})
}
