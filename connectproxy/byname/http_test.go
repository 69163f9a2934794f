package byname_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

const established = "HTTP/1.1 200 Connection established\r\n\r\n"

func TestAClientOfCONNECTIsConnectedToTheServiceThatItNames(t *testing.T) {
	echo := listenertest.NewEcho(t)
	p := start(t, allowing("db", "db@dc2"), &mesh{services: map[string]string{"db": echo.Addr(), "db.dc.dc2": echo.Addr()}})
	for _, head := range []string{
		"CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n",
		"CONNECT db HTTP/1.1\r\nHost: db\r\nUser-Agent: x\r\n\r\n",
		"CONNECT db.service.consul:1 HTTP/1.0\r\n\r\n",
		"CONNECT db:1 HTTP/1.1\nHost: db\n\n",
		"CONNECT db@dc2:1 HTTP/1.1\r\nHost: db\r\n\r\n",
	} {
		c := p.dial(t)
		if got := says(t, c, head, len(established)); got != established {
			t.Fatalf("%q: %q", head, got)
		}
		if got := says(t, c, "hello", 5); got != "hello" {
			t.Errorf("%q", got)
		}
		_ = c.CloseWrite()
		if got := rest(t, c); got != "" {
			t.Errorf("%q", got)
		}
		// What comes before the answer is for the service.
		c = p.dial(t)
		_, _ = io.WriteString(c, head+"early\r\n\r\nGET / HTTP/1.1\r\n\r\n")
		_ = c.CloseWrite()
		if got := rest(t, c); got != established+"early\r\n\r\nGET / HTTP/1.1\r\n\r\n" {
			t.Errorf("%q", got)
		}
	}
	if s := p.ended(t, 10); s.Reason != listener.ReasonClosed || !s.Relayed {
		t.Errorf("%+v", s)
	}
}

func TestAClientOfHTTPIsToldWhyItGetsNothing(t *testing.T) {
	m := &mesh{reasons: map[string]listener.Reason{
		"none": listener.ReasonNoEndpoints, "late": listener.ReasonDialTimeout, "down": listener.ReasonDialFailed,
		"hidden": listener.ReasonUpstreamDenied, "full": listener.ReasonLimit, "wrong": listener.ReasonUpstreamIdentity,
		"stopped": listener.ReasonUpstreamUnavailable,
	}}
	c := allowing("none", "late", "down", "hidden", "full", "wrong", "stopped")
	c.Users = []config.ByNameUser{{Name: "shop", Password: "secret", Allow: []string{"none"}}}
	p := start(t, c, m)
	const who = "\r\nProxy-Authorization: "
	for request, want := range map[string]struct {
		status int
		says   string
	}{
		"CONNECT none:1 HTTP/1.1":                                    {503, "there is no such service|no_endpoints"},
		"CONNECT late:1 HTTP/1.1":                                    {504, "dial_timeout"},
		"CONNECT down:1 HTTP/1.1":                                    {502, "dial_failed"},
		"CONNECT hidden:1 HTTP/1.1":                                  {403, "upstream_denied"},
		"CONNECT full:1 HTTP/1.1":                                    {503, "limit"},
		"CONNECT wrong:1 HTTP/1.1":                                   {502, "upstream_identity"},
		"CONNECT stopped:1 HTTP/1.1":                                 {503, "upstream_unavailable"},
		"CONNECT secret:1 HTTP/1.1":                                  {403, "by_name does not allow secret: add it to allow"},
		"CONNECT db.service.dc2.consul:1 HTTP/1.1":                   {403, "by_name does not allow db@dc2: add it to allow"},
		"CONNECT 10.0.0.1:80 HTTP/1.1":                               {400, "is an address"},
		"CONNECT [::1]:80 HTTP/1.1":                                  {400, "is an address"},
		"CONNECT none:1 HTTP/1.1\r\nContent-Length: 5":               {400, "must not have a body"},
		"CONNECT none:1 HTTP/1.1\r\nTransfer-Encoding: chunked":      {400, "must not have a body"},
		"CONNECT none:1 HTTP/1.1" + who + "Basic c2hvcDpzZWNyZXQ=":   {503, "no_endpoints"},
		"CONNECT late:1 HTTP/1.1" + who + "Basic c2hvcDpzZWNyZXQ=":   {403, `does not allow user "shop" to go to late`},
		"CONNECT none:1 HTTP/1.1" + who + "Basic c2hvcDp3cm9uZw==":   {407, "no user with this name"},
		"CONNECT none:1 HTTP/1.1" + who + "Negotiate abc":            {407, "Basic"},
		"GET http://none/ HTTP/1.1":                                  {503, "no_endpoints"},
		"GET http://late/ HTTP/1.1":                                  {504, "dial_timeout"},
		"GET http://hidden/ HTTP/1.1":                                {403, "upstream_denied"},
		"GET http://secret/ HTTP/1.1":                                {403, "does not allow secret"},
		"GET http://127.0.0.1/ HTTP/1.1":                             {400, "is an address"},
		"GET http://none@late/ HTTP/1.1":                             {400, "names no datacenter"},
		"GET https://none/ HTTP/1.1":                                 {400, "use CONNECT"},
		"GET /path HTTP/1.1\r\nHost: secret":                         {403, "does not allow secret"},
		"GET http://none/ HTTP/1.1" + who + "Basic c2hvcDp3cm9uZw==": {407, "no user with this name"},
		"GET http://late/ HTTP/1.1" + who + "Basic c2hvcDpzZWNyZXQ=": {403, `does not allow user "shop" to go to late`},
		"PRI * HTTP/2.0":                                             {505, ""},
		"OPTIONS * HTTP/1.1\r\nHost: none":                           {400, "asks for no service"},
		"GET * HTTP/1.1\r\nHost: none":                               {400, "asks for no service"},
		"GET http:http://secret/y HTTP/1.1\r\nHost: none":            {400, "has no host"},
		"GET http:none HTTP/1.1\r\nHost: none":                       {400, "has no host"},
		"GET http:/y HTTP/1.1\r\nHost: none":                         {400, "has no host"},
		"GET http:///y HTTP/1.1\r\nHost: none":                       {400, "has no host"},
		"GET / HTTP/1.1\r\nHost: none:99999;x":                       {400, "write NAME or NAME:80"},
		"GET / HTTP/1.1\r\nHost: none:secret":                        {400, "write NAME or NAME:80"},
		"GET / HTTP/1.1\r\nHost: none:80@secret":                     {400, ""},
		"GET / HTTP/1.1\r\nHost: [none]:80":                          {400, "write NAME or NAME:80"},
		"GET http://none:99999/ HTTP/1.1":                            {400, "write NAME or NAME:80"},
		"CONNECT none:99999 HTTP/1.1":                                {400, "write NAME or NAME:80"},
		"CONNECT [none]:80 HTTP/1.1":                                 {400, "invalid host"},
		"GET nonsense":                                               {400, ""},
	} {
		c := p.dial(t)
		if !strings.Contains(request, "\r\nHost:") {
			request += "\r\nHost: x"
		}
		_, _ = io.WriteString(c, request+"\r\nConnection: close\r\n\r\n")
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("%q: %v", request, err)
			continue
		}
		body, err := io.ReadAll(r.Body)
		if r.StatusCode != want.status || err != nil || strings.Count(string(body), "\n") > 1 {
			t.Errorf("%q: %d, %q, %v; want %d", request, r.StatusCode, body, err, want.status)
		}
		found := false
		for text := range strings.SplitSeq(want.says, "|") {
			found = found || strings.Contains(string(body), text)
		}
		if !found {
			t.Errorf("%q: %q does not say %q", request, body, want.says)
		}
		if challenge := r.Header.Get("Proxy-Authenticate"); (challenge != "") != (want.status == 407) {
			t.Errorf("%q: challenged by %q", request, challenge)
		}
		_ = c.Close()
	}
}

// app is a service that tells what it was asked.
func app(t *testing.T) (address string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Asked", r.Method+" "+r.Host+" "+r.URL.RequestURI())
		for name, values := range r.Header {
			w.Header().Set("X-Got-"+name, strings.Join(values, ","))
		}
		_, _ = w.Write(body)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// exchange sends a request as it stands and reads its answer.
func exchange(t *testing.T, c net.Conn, in *bufio.Reader, request string) (*http.Response, string) {
	t.Helper()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	r, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	return r, string(body)
}

func TestRequestsOfPlainHTTPGoToTheServiceThatIsTheirHost(t *testing.T) {
	m := &mesh{services: map[string]string{"web": app(t), "api": app(t)}}
	p := start(t, allowing("web", "api"), m)
	c := p.dial(t)
	in := bufio.NewReader(c)
	for _, x := range []struct{ request, asked, body string }{
		{"GET http://web/a%2Fb?q=1 HTTP/1.1\r\nHost: web\r\n\r\n", "GET web /a%2Fb?q=1", ""},
		{"GET http://api.service.consul:8080 HTTP/1.1\r\nHost: other\r\n\r\n", "GET api.service.consul:8080 /", ""},
		{"POST http://web/x HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\n\r\nhello", "POST web /x", "hello"},
		{"GET /plain HTTP/1.1\r\nHost: web\r\n\r\n", "GET web /plain", ""},
		{"HEAD http://web/ HTTP/1.1\r\nHost: web\r\n\r\n", "HEAD web /", ""},
		{"POST http://api/x HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "POST api /x", "abc"}, // the last on its connection
	} {
		r, body := exchange(t, c, in, x.request)
		if got := r.Header.Get("X-Asked"); r.StatusCode != http.StatusOK || got != x.asked || body != x.body {
			t.Errorf("%q: %d, asked %q, %q", x.request, r.StatusCode, got, body)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.calls) != 2 || m.calls[0].Client.String() != c.LocalAddr().String() {
		t.Errorf("connections to services: %+v", m.calls)
	}
}

func TestRequestsGoToTheServiceThatIsTheFirstSegmentOfTheirPath(t *testing.T) {
	m := &mesh{services: map[string]string{"web": app(t), "db.dc.dc2": app(t)}}
	for keep, want := range map[bool][]string{
		false: {"GET %s /", "GET %s /", "GET %s /a%%2Fb/?q=1", "GET %s //x", "GET other /x", "GET %s /x"},
		true:  {"GET %s /web", "GET %s /web/", "GET %s /web/a%%2Fb/?q=1", "GET %s /web//x", "GET other /web/x", "GET %s /db@dc2/x"},
	} {
		cfg := allowing("web", "db@dc2")
		cfg.Route, cfg.KeepPath = config.RoutePath, keep
		p := start(t, cfg, m)
		c := p.dial(t)
		in := bufio.NewReader(c)
		for i, target := range []string{"/web", "/web/", "/web/a%2Fb/?q=1", "/web//x", "http://other/web/x", "/db@dc2/x"} {
			r, body := exchange(t, c, in, "GET "+target+" HTTP/1.1\r\nHost: "+p.Addr().String()+"\r\n\r\n")
			w := want[i]
			if strings.Contains(w, "%s") {
				w = fmt.Sprintf(w, p.Addr().String())
			}
			if got := r.Header.Get("X-Asked"); got != w {
				t.Errorf("%s: asked %q, want %q (%s)", target, got, w, body)
			}
		}
		for _, target := range []string{"/", "//web", "/../web", "/%2e%2e/web", "/secret/x", "/a%20b/"} {
			r, body := exchange(t, c, in, "GET "+target+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
			if r.StatusCode != http.StatusBadRequest && r.StatusCode != http.StatusForbidden || !strings.HasPrefix(body, "connect-proxy: ") {
				t.Errorf("%s: %d, %q", target, r.StatusCode, body)
			}
		}
	}
}

func TestAPageInABrowserIsNotLedIntoTheMesh(t *testing.T) {
	cfg := allowing("*")
	cfg.Route = config.RoutePath
	p := start(t, cfg, &mesh{services: map[string]string{"web": app(t)}})
	c := p.dial(t)
	in := bufio.NewReader(c)
	for _, head := range []string{
		"Host: 127.0.0.1\r\nSec-Fetch-Site: cross-site",
		"Host: 127.0.0.1\r\nSec-Fetch-Site: same-site",
		"Host: 127.0.0.1\r\nOrigin: http://evil.example",
		"Host: 127.0.0.1\r\nOrigin: null",
		"Host: rebound.evil.example\r\nOrigin: http://rebound.evil.example",
	} {
		if r, body := exchange(t, c, in, "POST /web/ HTTP/1.1\r\nContent-Length: 0\r\n"+head+"\r\n\r\n"); r.StatusCode != http.StatusForbidden {
			t.Errorf("%q: %d, %q", head, r.StatusCode, body)
		}
	}
	for _, head := range []string{ // of a browser that has the port for its proxy
		"\r\nUser-Agent: Mozilla/5.0", "\r\nAccept-Language: en", "\r\nSec-Fetch-Site: cross-site", "\r\nOrigin: null",
	} {
		if r, body := exchange(t, c, in, "GET http://evil.example/web/ HTTP/1.1\r\nHost: evil.example"+head+"\r\n\r\n"); r.StatusCode != http.StatusForbidden {
			t.Errorf("%q: %d, %q", head, r.StatusCode, body)
		}
	}
	for _, host := range []string{
		"0.0.0.0", "0.0.0.0:80", "[::]", "[::]:80", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]:80",
		"printer", "printer:80", "ai.", "10.0.0.1:80", "app.localhost", "rebound.evil.example",
	} {
		if r, body := exchange(t, c, in, "GET /web/ HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); r.StatusCode != http.StatusForbidden {
			t.Errorf("an image or a page under %s: %d, %q", host, r.StatusCode, body)
		}
	}
	for _, host := range []string{"127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:80", "localhost"} {
		if r, body := exchange(t, c, in, "GET /web/ HTTP/1.1\r\nHost: "+host+"\r\nSec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n\r\n"); r.StatusCode != http.StatusOK {
			t.Errorf("typed by a person, under %s: %d, %q", host, r.StatusCode, body)
		}
	}
}

func TestClientsOfOtherMachinesCallThePortByItsNameAndPagesDoNot(t *testing.T) {
	cfg := allowing("*")
	cfg.Route, cfg.RemoteClients, cfg.Bind.Host = config.RoutePath, true, "sidecar.example"
	cfg.HostNames = []string{"proxy.example"}
	p := start(t, cfg, &mesh{services: map[string]string{"web": app(t)}})
	c := p.dial(t)
	in := bufio.NewReader(c)
	const (
		browser = "\r\nAccept-Language: en"
		asked   = "\r\nSec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document" // by its user, behind a proxy with TLS
		node    = "\r\nAccept-Language: *\r\nUser-Agent: node\r\nSec-Fetch-Mode: cors"
	)
	for head, want := range map[string]int{
		"sidecar.team.svc:1080": 200, "sidecar": 200, "10.0.0.1:1080": 200, "sidecar.example": 200, "proxy.example": 200,
		"10.0.0.1:1080" + browser: 403, "sidecar.example" + browser: 403, "Proxy.example:1080" + browser: 403,
		"10.0.0.1:1080" + browser + asked: 200, "sidecar.example" + browser + asked: 200, "Proxy.example:1080" + browser + asked: 200,
		"10.0.0.1:1080" + node: 200, "proxy.example" + node: 200, "sidecar.team.svc" + node: 403,
		"evil.proxy.example" + browser + asked: 403, "127.0.0.1" + browser: 200,
		"rebound.evil.example" + browser + asked: 403, "printer" + browser + asked: 403, "0.0.0.0:1080" + browser + asked: 403,
	} {
		if r, body := exchange(t, c, in, "GET /web/ HTTP/1.1\r\nHost: "+head+"\r\n\r\n"); r.StatusCode != want {
			t.Errorf("%q: %d, %q", head, r.StatusCode, body)
		}
	}
}

func TestARequestCannotHideAnotherInItself(t *testing.T) {
	web := app(t)
	for _, request := range []string{
		"POST http://web/ HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
		"POST http://web/ HTTP/1.1\r\nHost: web\r\nContent-Length: 5, 6\r\n\r\nhello!",
		"POST http://web/ HTTP/1.1\r\nHost: web\r\nContent-Length: -1\r\n\r\n",
		"POST http://web/ HTTP/1.1\r\nHost: web\r\nContent-Length: +5\r\n\r\nhello",
		"POST http://web/ HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
		"POST http://web/ HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"POST http://web/ HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST http://web/ HTTP/1.1\r\nHost: web\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"GET http://web/ HTTP/1.1\r\nHost: web\r\nHost: secret\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: web, secret\r\n\r\n",
		"GET http://web/\x00 HTTP/1.1\r\nHost: web\r\n\r\n",
		"GET http://web/ HTTP/1.1\r\nHost: web\r\nX: a\x00b\r\n\r\n",
		"GET http://web/ HTTP/1.1\r\nHost: web\r\n Folded: x\r\n\r\n",
		"GET http://web/ x HTTP/1.1\r\nHost: web\r\n\r\n",
	} {
		p := start(t, allowing("web"), &mesh{services: map[string]string{"web": web}})
		c := p.dial(t)
		r, body := exchange(t, c, bufio.NewReader(c), request)
		if r.StatusCode < 400 {
			t.Errorf("%q: %d, %q", request, r.StatusCode, body)
		}
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%q: the connection goes on: %v", request, err)
		}
		_ = c.Close()
	}
}

func TestOfTwoLengthsOfABodyTheServiceSeesOne(t *testing.T) {
	seen := make(chan string, 1)
	service := listenertest.NewServer(t, func(c *net.TCPConn) {
		b := make([]byte, 4096)
		var all []byte
		for !strings.HasSuffix(string(all), "0\r\n\r\n") {
			n, err := c.Read(b)
			if err != nil {
				break
			}
			all = append(all, b[:n]...)
		}
		seen <- string(all)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	p := start(t, allowing("web"), &mesh{services: map[string]string{"web": service.Addr()}})
	c := p.dial(t)
	in := bufio.NewReader(c)
	r, _ := exchange(t, c, in, "POST http://web/ HTTP/1.1\r\nHost: evil\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n"+
		"Connection: close, X-Secret\r\nX-Secret: yes\r\nKeep-Alive: x\r\nProxy-Authorization: Basic YTpi\r\nProxy-Connection: x\r\nTE: x\r\nUpgrade: x\r\n\r\n"+
		"3\r\nabc\r\n0\r\n\r\nGET http://secret/ HTTP/1.1\r\nHost: secret\r\n\r\n")
	got := <-seen
	if r.StatusCode != http.StatusOK || !strings.Contains(got, "\r\nHost: web\r\n") || !strings.Contains(got, "Transfer-Encoding: chunked") {
		t.Errorf("%d, the service gets %q", r.StatusCode, got)
	}
	for _, hidden := range []string{"Content-Length", "X-Secret", "Keep-Alive", "Proxy-", "\r\nTe:", "Upgrade", "evil", "GET"} {
		if strings.Contains(got, hidden) {
			t.Errorf("%s is in what the service gets: %q", hidden, got)
		}
	}
}

func TestAHeadWithoutEndIsCutOff(t *testing.T) {
	p := start(t, allowing("*"), &mesh{})
	for _, line := range []string{"GET http://web/ HTTP/1.1\r\n", "CONNECT web:1 HTTP/1.1\r\n"} {
		c := p.dial(t)
		_, err := io.WriteString(c, line)
		for i := 0; err == nil && i < 1000; i++ {
			_, err = fmt.Fprintf(c, "X-%d: %s\r\n", i, strings.Repeat("x", 1000))
		}
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil && r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%q: %d", line, r.StatusCode)
		}
		_ = c.Close()
	}
	if s := p.ended(t, 2); s.Reason != listener.ReasonHandshakeFailed {
		t.Errorf("%s, %v", s.Reason, s.Err)
	}
}

func TestAClientThatStopsInTheMiddleGivesUpItsPlace(t *testing.T) {
	echo := listenertest.NewEcho(t)
	p := start(t, allowing("db"), &mesh{services: map[string]string{"db": echo.Addr()}},
		func(o *listener.Options) { o.HandshakeTimeout = 300 * time.Millisecond })
	for i, said := range []string{"\x05", greeting, greeting + "\x05\x01\x00\x03\x09d", nameOfUser + "\x01\x05a", "GET", "CONNECT db:1 HTTP/1.1\r\nHost: db\r\n"} {
		c := p.dial(t)
		_, _ = io.WriteString(c, said)
		_, _ = io.ReadAll(c)
		if s := p.ended(t, i+1); s.Reason != listener.ReasonHandshakeTimeout || s.Duration > 10*time.Second {
			t.Errorf("%q: %s after %s", said, s.Reason, s.Duration)
		}
	}
	if n := p.Live(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func TestAnUpgradedConnectionCarriesBytesBothWays(t *testing.T) {
	service := listenertest.NewServer(t, func(c *net.TCPConn) {
		in := bufio.NewReader(c)
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
		_, _ = io.Copy(c, in)
	})
	p := start(t, allowing("web"), &mesh{services: map[string]string{"web": service.Addr()}})
	c := p.dial(t)
	in := bufio.NewReader(c)
	_, _ = io.WriteString(c, "GET http://web/ HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	r, err := http.ReadResponse(in, nil)
	if err != nil || r.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", r, err)
	}
	_, _ = io.WriteString(c, "hello\n")
	if line, err := in.ReadString('\n'); line != "hello\n" || err != nil {
		t.Errorf("%q, %v", line, err)
	}
	_ = c.Close()
	if s := p.ended(t, 1); !s.Served {
		t.Errorf("%+v", s)
	}
}

func TestConnectionsThatAreKeptForLaterEndWithTheDrain(t *testing.T) {
	p := start(t, allowing("web"), &mesh{services: map[string]string{"web": app(t)}})
	c := p.dial(t)
	exchange(t, c, bufio.NewReader(c), "GET http://web/ HTTP/1.1\r\nHost: web\r\n\r\n")
	if n := p.Live(); n != 1 {
		t.Errorf("%d connections", n)
	}
	p.CloseIdle()
	if err := p.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAConnectionThatIsBusyWhileItsIdentityGoesGetsNoFurtherRequest(t *testing.T) {
	asked, finish := make(chan string, 1), make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			asked <- r.RemoteAddr
			<-finish
		}
		_, _ = io.WriteString(w, r.RemoteAddr)
	}))
	defer web.Close()
	p := start(t, allowing("web"), &mesh{services: map[string]string{"web": web.Listener.Addr().String()}})
	slow, c := p.dial(t), p.dial(t)
	fromSlow, in := bufio.NewReader(slow), bufio.NewReader(c)
	const head = " HTTP/1.1\r\nHost: web\r\n\r\n"
	_, _ = io.WriteString(slow, "GET http://web/slow"+head)
	old := <-asked
	p.Reset()
	if _, body := exchange(t, c, in, "GET http://web/"+head); body == old {
		t.Errorf("the connection under way is shared")
	}
	close(finish)
	r, err := http.ReadResponse(fromSlow, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(r.Body); err != nil || string(body) != old {
		t.Errorf("the request under way is answered %q, %v", body, err)
	}
	for range 3 {
		if _, body := exchange(t, c, in, "GET http://web/"+head); body == old {
			t.Fatal("a request goes under the identity that is in use no more")
		}
	}
}

func TestAnotherListOfNamesHoldsForTheNextRequest(t *testing.T) {
	p := start(t, allowing("web"), &mesh{services: map[string]string{"web": app(t)}})
	c := p.dial(t)
	in := bufio.NewReader(c)
	request := "GET http://web/ HTTP/1.1\r\nHost: web\r\n\r\n"
	if r, _ := exchange(t, c, in, request); r.StatusCode != http.StatusOK {
		t.Errorf("%d", r.StatusCode)
	}
	if err := p.Server.Update(allowing("other")); err != nil {
		t.Fatal(err)
	}
	if r, _ := exchange(t, c, in, request); r.StatusCode != http.StatusForbidden {
		t.Errorf("%d after it was taken off the list", r.StatusCode)
	}
}

func TestServicesWhoseNamesLookAlikeShareNoConnection(t *testing.T) {
	web := app(t)
	m := &mesh{services: map[string]string{"db.dc.dc2": web}}
	p := start(t, allowing("db@dc2", "db.*"), m)
	c := p.dial(t)
	in := bufio.NewReader(c)
	for _, host := range []string{"db.service.dc2.consul", "db.dc.dc2"} {
		if r, body := exchange(t, c, in, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); r.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d, %q", host, r.StatusCode, body)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.calls) != 2 || m.calls[0].To == m.calls[1].To {
		t.Errorf("connections were made for %+v", m.calls)
	}
}

func TestAnAnswerThatComesBeforeTheEndOfTheRequestArrivesWhole(t *testing.T) {
	answer := strings.Repeat("x", 100<<10)
	service := listenertest.NewServer(t, func(c *net.TCPConn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		if _, err := io.ReadFull(r.Body, make([]byte, 5)); err != nil {
			return
		}
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
		_, _ = io.Copy(io.Discard, r.Body)
	})
	p := start(t, allowing("web"), &mesh{services: map[string]string{"web": service.Addr()}})
	c := p.dial(t)
	_, _ = io.WriteString(c, "POST http://web/ HTTP/1.1\r\nHost: web\r\nContent-Length: 10\r\n\r\nfirst")
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "later")
	if got, err := io.ReadAll(r.Body); string(got) != answer || err != nil {
		t.Errorf("%d bytes of %d, %v", len(got), len(answer), err)
	}
}

func TestAnAnswerWithoutAStatusIsABadGateway(t *testing.T) {
	service := listenertest.NewServer(t, func(c *net.TCPConn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 007 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	p := start(t, allowing("web"), &mesh{services: map[string]string{"web": service.Addr()}})
	c := p.dial(t)
	if r, body := exchange(t, c, bufio.NewReader(c), "GET http://web/ HTTP/1.1\r\nHost: web\r\n\r\n"); r.StatusCode != http.StatusBadGateway {
		t.Errorf("%d, %q", r.StatusCode, body)
	}
}
