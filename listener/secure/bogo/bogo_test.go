package bogo

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// passed is what the runner calls it.
const passed = "PASS"

// results are the runner's, by its tests' names.
type results map[string]struct {
	Actual string `json:"actual"`
	Error  string `json:"error"`
}

func (r results) count(outcome string) (n int) {
	for _, t := range r {
		if t.Actual == outcome {
			n++
		}
	}
	return n
}

// elsewhere are tests of what is not spoken here: they would be skipped one by
// one.
const elsewhere = "*DTLS*;*QUIC*;*-Async*;*ECH*;TrustAnchors-*;PAKE-*;*-Split;*-Hints;*DelegatedCredential*"

// run has the runner test the shim on one path.
func run(t *testing.T, runner, path, only string) results {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// The curves that crypto/tls has, by their numbers in TLS.
	config := filepath.Join(dir, "config.json")
	if err := os.WriteFile(config, []byte(`{"AllCurves": [23, 24, 25, 29, 4587, 4588, 4589]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	output := filepath.Join(dir, "results.json")
	cmd := exec.CommandContext(t.Context(), runner, "-test.run=TestAll", "-pipe",
		"-shim-path="+self, "-shim-extra-flags="+shimFlag+path, "-shim-config="+config, "-json-output="+output,
		"-allow-unimplemented", "-loose-errors", "-skip="+elsewhere, "-test="+only)
	cmd.Dir = filepath.Dir(runner)
	// Built with the race detector, each shim would wait for a second at its end.
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	said, err := cmd.CombinedOutput()
	// That the runner fails is no news: it does so as soon as one of its tests
	// does.
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	content, err := os.ReadFile(output)
	if err != nil {
		t.Fatalf("the runner left no results: %v\n%s", err, said)
	}
	var all struct{ Tests results }
	if err := json.Unmarshal(content, &all); err != nil {
		t.Fatal(err)
	}
	r := all.Tests
	t.Logf("%s: %d passed, %d failed, %d skipped", path, r.count(passed), r.count("FAIL"), r.count("SKIP"))
	return r
}

// difference is a test that passes with crypto/tls alone and not on a path.
type difference struct{ path, test string }

// listed are the differences that are meant, with their reasons: a line each
// with path, test and reason, and comments.
func listed(t *testing.T) map[difference]string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "differences.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[difference]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		words := strings.Fields(line)
		if len(words) < 3 {
			t.Fatalf("a line without path, test and reason: %q", line)
		}
		all[difference{words[0], words[1]}] = strings.Join(words[2:], " ")
	}
	return all
}

// essential are tests that pass on every path, so that a shim which can nothing
// does not look like one without differences.
var essential = []string{
	"Basic-Client-TLS-Sync", "Basic-Client-TLS-Sync-SplitHandshakeRecords", "ClientAuth-Enforced-TLS13",
	"KeyUpdate-ToClient", "KeyUpdate-ToServer", "LargePlaintext-TLS13-Padded-8193-8192",
	"SendEmptySessionTicket-TLS13", "TLS13-RecordPadding-TLS",
}

// essentialDetached pass only where the records are ours.
var essentialDetached = []string{"KeyUpdate-FromClient", "KeyUpdate-FromServer"}

func TestWhatPassesWithCryptoTLSPassesOnEveryPathOfOurs(t *testing.T) {
	runner := os.Getenv("BOGO_RUNNER")
	if runner == "" {
		t.Skip("BOGO_RUNNER does not name BoringSSL's runner")
	}
	only := os.Getenv("BOGO_TESTS") // patterns with semicolons between, for work on single tests
	want := run(t, runner, pathCryptoTLS, only)
	meant := listed(t)
	for _, path := range []string{pathKept, pathDetached, pathRelayed} {
		t.Run(path, func(t *testing.T) { compare(t, path, want, run(t, runner, path, only), meant, only == "") })
	}
}

// compare holds the results on a path against those of crypto/tls.
func compare(t *testing.T, path string, want, got results, meant map[difference]string, whole bool) {
	var better, seen int
	for name, w := range want {
		g := got[name]
		_, expected := meant[difference{path, name}]
		switch differs := w.Actual == passed && g.Actual != passed; {
		case differs && expected:
			seen++
		case differs:
			t.Errorf("%s passes with crypto/tls only: %s\n%s", name, g.Actual, g.Error)
		case expected:
			t.Errorf("%s is listed as a difference and is none", name)
		}
		if w.Actual != passed && g.Actual == passed {
			better++
			t.Logf("%s passes here and not with crypto/tls", name)
		}
	}
	t.Logf("%d differences as listed, %d tests pass here only", seen, better)
	if !whole {
		return
	}
	for d := range meant {
		if _, ran := want[d.test]; d.path == path && !ran {
			t.Errorf("%s is listed as a difference and was not run", d.test)
		}
	}
	names := essential
	if path == pathDetached {
		names = slices.Concat(names, essentialDetached)
	}
	for _, name := range names {
		if got[name].Actual != passed {
			t.Errorf("%s: %q", name, got[name].Actual)
		}
	}
	if n := got.count(passed); n < 1000 {
		t.Errorf("%d tests passed", n)
	}
}

func TestTheListOfDifferencesNamesPathsThatThereAre(t *testing.T) {
	for d, reason := range listed(t) {
		if !slices.Contains([]string{pathKept, pathDetached, pathRelayed}, d.path) {
			t.Errorf("%+v: %s", d, reason)
		}
	}
}
