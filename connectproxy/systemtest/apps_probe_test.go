package systemtest_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"connect-proxy/connectproxy"
	"connect-proxy/connectproxy/agenttest"
)

// profiled is a proxy whose inside can be counted.
type profiled struct {
	*proxyProcess
	pprof string
	http  *http.Client
}

// startProfiled registers the service and runs its proxy, until it is ready.
func (s sidecar) startProfiled(t *testing.T, a *agenttest.Agent, args ...string) *profiled {
	t.Helper()
	address := at(agenttest.FreePort(t))
	return &profiled{
		proxyProcess: s.start(t, a, append(args, "-pprof-addr", address)...),
		pprof:        address,
		// No connection stays open to be counted.
		http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: exchange},
	}
}

// use is what a proxy holds.
type use struct {
	live, descriptors, goroutines int
	heap, resident                int64 // bytes
}

// use counts. Descriptors and resident memory are zero where there is no /proc.
func (p *profiled) use() (use, error) {
	status, err := p.status()
	if err != nil {
		return use{}, err
	}
	var u use
	for _, l := range status.Listeners {
		u.live += l.Live
	}
	heap, err := p.number("/debug/pprof/heap?gc=1&debug=1", `# HeapAlloc = (\d+)`)
	if err != nil {
		return u, err
	}
	if u.goroutines, err = p.goroutines(); err != nil {
		return u, err
	}
	u.heap = heap
	u.descriptors = len(p.descriptors())
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.Pid())); err == nil {
		pages, _ := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
		u.resident = pages * int64(os.Getpagesize())
	}
	return u, nil
}

func (p *profiled) descriptors() []string {
	found, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.Pid()))
	return found
}

// settled waits until the proxy has no connection and does nothing new, and
// counts then. A watch of the agent's begins with a short question and goes on
// with a long one, each perhaps on a connection of its own.
func (p *profiled) settled() use {
	p.t.Helper()
	var u use
	since := time.Now()
	agenttest.Eventually(p.t, exchange, func() error {
		now, err := p.use()
		if err != nil {
			return err
		}
		if now.live > 0 || now.descriptors > u.descriptors || now.goroutines > u.goroutines {
			u.live, u.descriptors, u.goroutines = now.live, max(u.descriptors, now.descriptors), max(u.goroutines, now.goroutines)
			since = time.Now()
		}
		u.live, u.heap, u.resident = now.live, now.heap, now.resident
		if took := time.Since(since); took < 2*time.Second {
			return fmt.Errorf("it has held %+v for only %s", u, took)
		}
		return nil
	})
	return u
}

// returns waits until the proxy holds no more than it did, but for memory and
// what a further connection or two to its agent take.
func (p *profiled) returns(base use) use {
	p.t.Helper()
	var u use
	agenttest.Eventually(p.t, exchange, func() (err error) {
		u, err = p.use()
		if err == nil && (u.live > 0 || u.descriptors > base.descriptors+2 || u.goroutines > base.goroutines+4) {
			err = fmt.Errorf("it holds %+v, before it was %+v", u, base)
		}
		return err
	})
	return u
}

// status is what /health answers.
func (p *profiled) status() (connectproxy.Status, error) {
	var s connectproxy.Status
	text, err := p.get(p.admin, "/health")
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	return s, err
}

// goroutines counts all but those that a listener keeps for its next connections, of
// which there are as many as have come at once, and eight at most.
func (p *profiled) goroutines() (n int, err error) {
	text, err := p.get(p.pprof, "/debug/pprof/goroutine?debug=1")
	if err != nil {
		return 0, err
	}
	for stack := range strings.SplitSeq(string(text), "\n\n") {
		same := 0
		if at := alike.FindStringSubmatch(stack); at != nil && !strings.Contains(stack, "listener.(*workers).await") {
			same, err = strconv.Atoi(at[1])
		}
		n += same
	}
	if n == 0 {
		return 0, fmt.Errorf("no goroutine in %.200q", text)
	}
	return n, err
}

// alike begins what a profile says of goroutines with the same stack.
var alike = regexp.MustCompile(`(?m)^(\d+) @ `)

func (p *profiled) number(path, pattern string) (int64, error) {
	text, err := p.get(p.pprof, path)
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(pattern).FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("%s does not say %s", path, pattern)
	}
	return strconv.ParseInt(string(found[1]), 10, 64)
}

func (p *profiled) get(address, path string) ([]byte, error) {
	resp, err := p.http.Get("http://" + address + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// credentials are those of a service, for a client of the test's own making.
func credentials(t *testing.T, a *agenttest.Agent, service string) *tls.Config {
	t.Helper()
	leaf, _, err := a.Client.Agent().ConnectCALeaf(service, nil)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair([]byte(leaf.CertPEM), []byte(leaf.PrivateKeyPEM))
	if err != nil {
		t.Fatal(err)
	}
	roots, _, err := a.Client.Agent().ConnectCARoots(nil)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	for _, root := range roots.Roots {
		pool.AppendCertsFromPEM([]byte(root.RootCertPEM))
	}
	return &tls.Config{
		Certificates:       []tls.Certificate{cert},
		InsecureSkipVerify: true, // of the name, which a leaf has not; the chain is checked
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool})
			return err
		},
	}
}
