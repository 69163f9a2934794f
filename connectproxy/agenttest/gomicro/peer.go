package gomicro

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"connect-proxy/connectproxy/agenttest/agentbuild"
)

// Releases are those that tests are made with, by the name of the module below
// testdata/micro; with each goes its import path.
var Releases = map[string]string{
	"v5": "go-micro.dev/v5",
	"v4": "go-micro.dev/v4",
	"v2": "github.com/micro/go-micro/v2",
}

// PlainGRPC takes the place of a release for a client or server of gRPC that has
// nothing of Go Micro.
const PlainGRPC = "grpc"

// speaksGRPC is the flag of the programs to speak gRPC in place of HTTP.
const speaksGRPC = "-grpc"

// shared are the files of v5's program that every other release's is made of.
var shared = []string{"main.go", "server.go", "client.go", "events.go"}

// building is held while a program is built.
var building sync.Mutex

// program builds the server and client of a release and returns its path. Its name
// in the cache is by what it is made of.
func program(t testing.TB, release string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs Go Micro: not with -short")
	}
	building.Lock()
	defer building.Unlock()
	module, digest := writeModule(t, release)
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(cache, "connect-proxy", "micro-"+release+"-"+digest)
	if _, err := os.Stat(kept); err == nil {
		return kept
	}
	if err := os.MkdirAll(filepath.Dir(kept), 0o755); err != nil {
		t.Fatal(err)
	}
	half := fmt.Sprintf("%s.%d", kept, os.Getpid())
	cmd := exec.CommandContext(t.Context(), "go", "build", "-mod=readonly", "-buildvcs=false", "-ldflags=-s -w", "-o", half, ".")
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building a server and client of Go Micro %s: %v\n%s", release, err, out)
	}
	if err := os.Rename(half, kept); err != nil {
		t.Fatal(err)
	}
	return kept
}

// writeModule writes the module of a release, whose program is v5's with another
// import path, and returns a digest of it.
func writeModule(t testing.TB, release string) (dir, digest string) {
	t.Helper()
	root, err := agentbuild.Root()
	if err != nil {
		t.Fatal(err)
	}
	modules := filepath.Join(root, "testdata", "micro")
	dir = filepath.Join(t.TempDir(), release)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	files := append([]string{"version.go", "go.mod", "go.sum"}, shared...)
	switch release {
	case PlainGRPC:
		files = []string{"main.go", "server.go", "go.mod", "go.sum"}
	case commandLine:
		files = []string{"main.go", "go.mod", "go.sum", "missing/go.mod"}
	}
	for _, name := range files {
		from := release
		if Releases[release] != "" && slices.Contains(shared, name) {
			from = "v5"
		}
		b, err := os.ReadFile(filepath.Join(modules, from, name))
		if err != nil {
			t.Fatal(err)
		}
		if from == "v5" {
			b = bytes.ReplaceAll(b, []byte(Releases["v5"]+"/"), []byte(Releases[release]+"/"))
		}
		h.Write(b)
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, hex.EncodeToString(h.Sum(nil)[:6])
}

// Peer is a running client or server of Go Micro.
type Peer struct {
	t       testing.TB
	process *exec.Cmd
	// Address is a server's.
	Address string
	in      io.WriteCloser
	out     *bufio.Reader
}

// start runs a program until the test ends.
func start(t testing.TB, path string, env []string, args ...string) *Peer {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	log := new(strings.Builder)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &Peer{t: t, process: cmd, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%v said:\n%s", args, log)
		}
	})
	return p
}

// line is the next line that the program says.
func (p *Peer) line() string {
	p.t.Helper()
	s, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("the peer of Go Micro has ended: %v", err)
	}
	return strings.TrimSpace(s)
}

// Serve runs the service of that name, and returns once it listens.
func Serve(t testing.TB, release, name string) *Peer {
	t.Helper()
	return serve(t, release, "-service", name)
}

// ServeGRPC runs a service that speaks gRPC.
func ServeGRPC(t testing.TB, release, name string) *Peer {
	t.Helper()
	return serve(t, release, "-service", name, speaksGRPC)
}

func serve(t testing.TB, release string, args ...string) *Peer {
	t.Helper()
	p := start(t, program(t, release), nil, append([]string{"serve"}, args...)...)
	p.Address = p.ready()
	return p
}

// ready waits until the program is, and returns what it says then.
func (p *Peer) ready() string {
	p.t.Helper()
	for {
		if said, ok := strings.CutPrefix(p.line(), "ready"); ok {
			return strings.TrimSpace(said)
		}
	}
}

// Kill ends a server in the middle of whatever it does.
func (p *Peer) Kill() { _ = p.process.Process.Kill() }

// End ends a server or a client in an orderly way, and does not wait for it.
func (p *Peer) End() { _ = p.in.Close() }

// Client runs a client whose proxy is at that address.
func Client(t testing.TB, release, proxy string) *Peer {
	t.Helper()
	return start(t, program(t, release), []string{"MICRO_PROXY=" + proxy}, "call")
}

// ClientGRPC runs a client that speaks gRPC.
func ClientGRPC(t testing.TB, release, proxy string) *Peer {
	t.Helper()
	return start(t, program(t, release), []string{"MICRO_PROXY=" + proxy}, "call", speaksGRPC)
}

// Order is what a client is told to do; the program of the peers says what each
// field means.
type Order struct {
	Kind      string   `json:"kind"`
	Services  []string `json:"services"`
	Calls     int      `json:"calls"`
	Parallel  int      `json:"parallel"`
	TimeoutMS int      `json:"timeout_ms"`
	Retries   *int     `json:"retries"`
	Request   Request  `json:"request"`
}

// Request is what is sent with each call.
type Request struct {
	Name     string `json:"name"`
	Size     int    `json:"size"`
	SleepMS  int    `json:"sleep_ms"`
	Messages int    `json:"messages"`
	Journal  string `json:"journal"`
}

// Outcome is what came of it.
type Outcome struct {
	OK, Mixed, Failed int
	First             struct {
		ID     string
		Code   int
		Detail string
	}
	// Wrong is one of the answers that Mixed counts.
	Wrong  string
	TookMS int `json:"took_ms"`
}

// Do has the client do something.
func (p *Peer) Do(o Order) Outcome {
	p.t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(p.in, "%s\n", b); err != nil {
		p.t.Fatal(err)
	}
	for {
		line := p.line()
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var got Outcome
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			p.t.Fatalf("%s: %v", line, err)
		}
		return got
	}
}
