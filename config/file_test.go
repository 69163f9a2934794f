package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	smallest = `service_name = "batch"
upstream {
  destination_name = "db"
  local_bind_port  = 9191
}
`
	second = `upstream {
  destination_name = "queue"
  local_bind_port  = 9292
}
`
)

// next calls Next for no longer than limit of the bubble's time.
func next(t *testing.T, s Source, limit time.Duration) (*Config, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return s.Next(ctx)
}

// quiet fails unless Next has nothing to say for limit.
func quiet(t *testing.T, s Source, limit time.Duration) {
	t.Helper()
	if cfg, err := next(t, s, limit); cfg != nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %+v, %v; want nothing new", cfg, err)
	}
}

// refused fails unless Next gives an *Invalid that contains want.
func refused(t *testing.T, s Source, want string) {
	t.Helper()
	cfg, err := next(t, s, time.Minute)
	var invalid *Invalid
	if cfg != nil || !errors.As(err, &invalid) || !strings.Contains(err.Error(), want) {
		t.Fatalf("got %+v, %v; want an *Invalid with %q", cfg, err, want)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAFileIsReadAgainWhenItsContentChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "proxy.hcl")
		write(t, path, smallest)
		f := NewFile(path, nil)
		cfg, err := next(t, f, time.Second)
		if err != nil || len(cfg.Upstreams) != 1 || f.Problem() != "" {
			t.Fatalf("first: %+v, %v, problem %q", cfg, err, f.Problem())
		}
		quiet(t, f, time.Minute)

		now := time.Now()
		if err := os.Chtimes(path, now.Add(time.Hour), now.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		write(t, path, "# said again\n"+smallest)
		quiet(t, f, time.Minute)

		write(t, path+".new", smallest+second)
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		cfg, err = next(t, f, 3*filePoll)
		if err != nil || len(cfg.Upstreams) != 2 || cfg.Upstreams[1].Destination.Name != "queue" {
			t.Fatalf("after a change: %+v, %v", cfg, err)
		}
	})
}

func TestAHalfWrittenFileIsNotTakenForAWholeOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "proxy.hcl")
		write(t, path, smallest)
		f := NewFile(path, nil)
		if _, err := next(t, f, time.Second); err != nil {
			t.Fatal(err)
		}
		// Each text is valid on its own, and each stands for less than two
		// looks, as with a writer that is slow.
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 5 {
				write(t, path, smallest+strings.Repeat("#", i)+"\n"+strings.Replace(second, "9292", "92", 1))
				<-time.After(filePoll * 3 / 4)
			}
			write(t, path, smallest+second)
		}()
		cfg, err := next(t, f, time.Minute)
		<-done
		if err != nil || len(cfg.Upstreams) != 2 || cfg.Upstreams[1].Bind.Port != 9292 {
			t.Fatalf("got %+v, %v; want the whole file", cfg, err)
		}
	})
}

func TestAnInvalidFileIsReportedOnceAndTheOldStateIsGivenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "proxy.hcl")
		write(t, path, smallest)
		f := NewFile(path, nil)
		if _, err := next(t, f, time.Second); err != nil {
			t.Fatal(err)
		}
		write(t, path, smallest+"upstream {")
		refused(t, f, path+":6: ")
		if !strings.Contains(f.Problem(), path+":6: ") || strings.Contains(f.Problem(), "\n") {
			t.Errorf("problem: %q", f.Problem())
		}
		quiet(t, f, time.Minute)

		write(t, path, smallest)
		if cfg, err := next(t, f, time.Minute); err != nil || len(cfg.Upstreams) != 1 {
			t.Fatalf("who heard of the mistake does not hear of its end: %+v, %v", cfg, err)
		}
		quiet(t, f, time.Minute)
		if f.Problem() != "" {
			t.Errorf("problem although all is well: %q", f.Problem())
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		refused(t, f, path+"): cannot be read: no such file")
		quiet(t, f, time.Minute)
		write(t, path, smallest+second)
		if cfg, err := next(t, f, time.Minute); err != nil || len(cfg.Upstreams) != 2 {
			t.Fatalf("after it came back: %+v, %v", cfg, err)
		}
	})
}

func TestAFirstFileThatCannotBeUsedIsRefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.hcl")
	write(t, broken, "service_name = ")
	for path, want := range map[string]string{
		filepath.Join(dir, "none.hcl"): "cannot be read: no such file",
		dir:                            "cannot be read: not a regular file",
		os.DevNull:                     "cannot be read: not a regular file",
		broken:                         "broken.hcl:1: ",
	} {
		refused(t, NewFile(path, nil), want)
	}
}

func TestAStaticSourceGivesItsConfigurationOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Static{Config: &Config{Service: "web"}}
		if cfg, err := next(t, s, time.Second); err != nil || cfg.Service != "web" || s.Problem() != "" {
			t.Fatalf("got %+v, %v", cfg, err)
		}
		quiet(t, s, time.Hour)
	})
}
