package devagent_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/devagent"
)

func request(t *testing.T, method, url, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	return req
}

func do(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestAWebPageReachesTheAgentByNoNameOfItsOwn(t *testing.T) {
	a := run(t, devagent.Options{})
	for host, want := range map[string]int{
		"localhost": 200, "LocalHost:8500": 200, "127.0.0.1": 200, "127.9.9.9:1": 200, "[::1]:8500": 200, "::1": 200,
		"evil.example": 403, "evil.example:8500": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example": 403,
		"0.0.0.0": 403, "192.0.2.1": 403, "[::]:8500": 403, "localhost.": 403, "2130706433": 403,
	} {
		req := request(t, "GET", a.url+"/v1/agent/connect/ca/leaf/web", "")
		req.Host = host
		status, body := do(t, req)
		if status != want || want == 403 && strings.Contains(body, "PRIVATE KEY") {
			t.Errorf("Host %s: %d, want %d: %s", host, status, want, body)
		}
	}
}

func TestAWebPageChangesNothing(t *testing.T) {
	a := run(t, devagent.Options{})
	for header, value := range map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"} {
		req := request(t, "POST", a.url+"/v1/connect/intentions", `{"SourceName":"*","DestinationName":"*","Action":"allow"}`)
		req.Header.Set(header, value)
		req.Header.Set("Content-Type", "text/plain") // which a browser sends without asking first
		if status, body := do(t, req); status != http.StatusForbidden {
			t.Errorf("%s: %d %s", header, status, body)
		}
	}
	if s := ask(t, a.url, "GET", "/v1/connect/intentions", ""); strings.TrimSpace(string(s.body)) != "[]" {
		t.Errorf("there are intentions: %s", s.body)
	}
}

func TestTheAgentServesTheLoopbackAlone(t *testing.T) {
	a, err := devagent.New(devagent.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context(), ln); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("served with %v", err)
	}
	if _, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ln.Addr().(*net.TCPAddr).Port)); err == nil {
		t.Error("the port is still open")
	}
}

func TestWhatIsHeldEndsWithTheAgent(t *testing.T) {
	a, err := devagent.New(devagent.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx, ln) }()
	url := "http://" + ln.Addr().String()
	index := ask(t, url, "GET", "/v1/connect/intentions", "").header.Get("X-Consul-Index")
	let := make(chan struct{})
	go func() {
		defer close(let)
		_, _ = tryAsk(context.WithoutCancel(t.Context()), url, "GET", "/v1/connect/intentions?index="+index, "")
	}()
	<-time.After(50 * time.Millisecond) // it is held by then, or on its way: either ends
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on")
	}
	<-let
}

func TestARequestThatIsTooLargeIsRefused(t *testing.T) {
	a := run(t, devagent.Options{})
	body := `{"Name":"web","Meta":{"x":"` + strings.Repeat("x", 1<<20) + `"}}`
	req := request(t, "PUT", a.url+"/v1/agent/service/register", body)
	resp, err := http.DefaultClient.Do(req)
	if err == nil { // the rest of the body may be cut off
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("status %d", resp.StatusCode)
		}
	}
	if a.Passing("web") {
		t.Error("it is registered all the same")
	}
}

func TestServicesBeyondTheBoundAreRefused(t *testing.T) {
	a, err := devagent.New(devagent.Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; err == nil && n < 5000; n++ {
		err = a.Register(api.AgentServiceRegistration{Name: fmt.Sprint("s", n), Port: 1})
	}
	if err == nil || !strings.Contains(err.Error(), "services") || n != 1025 {
		t.Errorf("%d were taken, then %v", n-1, err)
	}
}
