package agentbuild

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAReleaseIsFoundByItsName(t *testing.T) {
	for _, want := range []Release{Managed, Modern} {
		if got, err := Named(want.Name); err != nil || got != want {
			t.Errorf("%s: %+v, %v", want.Name, got, err)
		}
	}
	if _, err := Named("1.15.4"); err == nil || !strings.Contains(err.Error(), "managed") {
		t.Errorf("an unknown name: %v", err)
	}
}

func TestTheModulesPinTheVersionsThatAreNamed(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []Release{Managed, Modern} {
		text, err := os.ReadFile(filepath.Join(root, "testdata", "agents", r.Name, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		if want := consulPackage + " v" + r.Version + "\n"; !strings.Contains(string(text), want) {
			t.Errorf("%s: no %q", r.Name, want)
		}
	}
}

func TestABinarysNameFollowsItsModule(t *testing.T) {
	module := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(module, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	at := func() string {
		t.Helper()
		path, err := place(t.Context(), module, Modern)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("go.mod", "module x\n")
	write("go.sum", "")
	one := at()
	if two := at(); two != one {
		t.Errorf("%s, then %s", one, two)
	}
	write("go.sum", "example.com/y v1.0.0 h1:x\n")
	if two := at(); two == one {
		t.Errorf("still %s", one)
	}
}

func TestABuildThatFailsSaysWhyAndLeavesNothing(t *testing.T) {
	module, out := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(module, "go.mod"), []byte("module x\n\ngo 1.26\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var progress bytes.Buffer
	err := build(t.Context(), module, filepath.Join(out, "consul"), Modern, &progress)
	if err == nil || !strings.Contains(err.Error(), consulPackage) {
		t.Errorf("%v", err)
	}
	if !strings.HasPrefix(progress.String(), "building Consul 1.15.4 from source, about 3 minutes, once: ") {
		t.Errorf("said %q", progress.String())
	}
	if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestOneAtATimeHoldsTheLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	none := func() { t.Error("waited for nobody") }
	unlock, err := lock(t.Context(), path, none)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := lock(ctx, path, cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("a second lock: %v", err)
	}
	waiting := make(chan struct{})
	got := make(chan error, 1)
	go func() {
		unlock, err := lock(t.Context(), path, func() { close(waiting) })
		if err == nil {
			unlock()
		}
		got <- err
	}()
	<-waiting
	unlock()
	if err := <-got; err != nil {
		t.Error(err)
	}
}
