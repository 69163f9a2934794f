package chromium

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"

	"golang.org/x/net/websocket"
)

// Page is one page of a headless Chromium, driven by its debugging protocol.
type Page struct {
	t       *testing.T
	ws      *websocket.Conn
	session string
	last    int
	// Said are the messages of the page's console, and what its policy forbade.
	Said []string
}

// devtoolsMessage is a message of Chromium's debugging protocol.
type devtoolsMessage struct {
	ID        int                       `json:"id,omitempty"`
	Method    string                    `json:"method,omitempty"`
	SessionID string                    `json:"sessionId,omitempty"`
	Params    json.RawMessage           `json:"params,omitempty"`
	Result    json.RawMessage           `json:"result,omitempty"`
	Error     *struct{ Message string } `json:"error,omitempty"`
}

// Start starts a browser and opens a page in it, or skips the test where there is
// none or tests are to be short. Flags are added to the browser's.
func Start(t *testing.T, flags ...string) *Page {
	t.Helper()
	if testing.Short() {
		t.Skip("a browser takes seconds to start: not with -short")
	}
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path = agenttest.FindProgram(name); path != "" {
			break
		}
	}
	if path == "" {
		t.Skip("none of chromium, chromium-browser and google-chrome is installed")
	}
	dir := home(t)
	ctx, cancel := context.WithCancel(context.Background())
	args := append([]string{"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0", "--remote-allow-origins=http://127.0.0.1", "--user-data-dir=" + dir}, flags...)
	cmd := exec.CommandContext(ctx, path, append(args, "about:blank")...)
	cmd.Env = append(os.Environ(), "HOME="+dir)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "DevTools listening on "); ok {
			return attach(t, url)
		}
	}
	t.Fatal("the browser did not start")
	return nil
}

// home is a directory for a browser. Its processes write to it for a moment
// after the first of them has ended, so that t.TempDir's cannot always be removed.
func home(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "browser") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		agenttest.Eventually(t, 10*time.Second, func() error { return os.RemoveAll(dir) })
	})
	return dir
}

func attach(t *testing.T, url string) *Page {
	t.Helper()
	ws, err := websocket.Dial(url, "", "http://127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	ws.MaxPayloadBytes = 64 << 20
	t.Cleanup(func() {
		_ = websocket.JSON.Send(ws, devtoolsMessage{ID: 1 << 20, Method: "Browser.close"})
		_ = ws.Close()
	})
	b := &Page{t: t, ws: ws}
	var target struct{ TargetID string }
	b.call("", "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var session struct{ SessionID string }
	b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &session)
	b.session = session.SessionID
	for _, domain := range []string{"Page.enable", "Runtime.enable", "Log.enable"} {
		b.Do(domain, nil, nil)
	}
	return b
}

// Do sends the page one command of the protocol; a nil result is dropped.
func (b *Page) Do(method string, params, result any) {
	b.t.Helper()
	b.call(b.session, method, params, result)
}

// call sends one command and waits for its answer.
func (b *Page) call(session, method string, params, result any) {
	b.t.Helper()
	b.last++
	m := devtoolsMessage{ID: b.last, Method: method, SessionID: session}
	if params != nil {
		text, err := json.Marshal(params)
		if err != nil {
			b.t.Fatal(err)
		}
		m.Params = text
	}
	if err := websocket.JSON.Send(b.ws, m); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	_ = b.ws.SetReadDeadline(time.Now().Add(30 * time.Second))
	for {
		var got devtoolsMessage
		if err := websocket.JSON.Receive(b.ws, &got); err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		switch got.Method {
		case "Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening":
			b.Said = append(b.Said, got.Method+" "+string(got.Params))
		}
		if got.ID != m.ID {
			continue
		}
		if got.Error != nil {
			b.t.Fatalf("%s: %s", method, got.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(got.Result, result); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
		}
		return
	}
}

// Eval gives what an expression comes to in the page, as JSON.
func (b *Page) Eval(expression string) string {
	b.t.Helper()
	var got struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct{ Text string }
	}
	b.Do("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true}, &got)
	if got.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, got.ExceptionDetails.Text)
	}
	return string(got.Result.Value)
}

// Text is what a part of the page reads, as it is seen.
func (b *Page) Text(selector string) string {
	b.t.Helper()
	var s string
	if err := json.Unmarshal([]byte(b.Eval(fmt.Sprintf("document.querySelector(%q).innerText", selector))), &s); err != nil {
		b.t.Fatal(err)
	}
	return s
}

// Until waits for an expression to be true.
func (b *Page) Until(expression string) {
	b.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for b.Eval(expression) != "true" {
		if time.Now().After(deadline) {
			b.t.Fatalf("in vain: %s\n%s", expression, b.Text("body"))
		}
		<-tick.C
	}
}

// Open goes to an address in a window of that width.
func (b *Page) Open(url string, width int, dark bool) {
	b.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	b.Do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	b.Do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	b.Do("Page.navigate", map[string]any{"url": url}, nil)
}

// Screenshots names the directory for pictures; without it none are kept.
const Screenshots = "CONNECT_PROXY_SCREENSHOTS"

// Shoot keeps a picture of the page, or of the part of it that fits the window.
func (b *Page) Shoot(name string, whole bool) {
	b.t.Helper()
	dir := os.Getenv(Screenshots)
	if dir == "" {
		return
	}
	var shot struct{ Data string }
	b.Do("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": whole}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/"+name+".png", png, 0o600); err != nil {
		b.t.Fatal(err)
	}
}
