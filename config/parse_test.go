package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the expected results instead of comparing with them")

const files = "../testdata/config/"

func TestAValidFileBecomesItsConfiguration(t *testing.T) {
	for _, path := range inputs(t, "valid/*.hcl") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			cfg, err := Parse(path, read(t, path))
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(cfg, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(path, ".hcl")+".json", string(got)+"\n")
		})
	}
}

func TestJSONSaysTheSameAsHCL(t *testing.T) {
	for _, path := range inputs(t, "json/*.json") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			got, err := Parse(path, read(t, path))
			if err != nil {
				t.Fatal(err)
			}
			twin := strings.NewReplacer("json/", "valid/", ".json", ".hcl").Replace(filepath.ToSlash(path))
			want, err := Parse(twin, read(t, twin))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("JSON differs from HCL (-hcl +json):\n%s", diff)
			}
		})
	}
}

func TestEveryMistakeIsNamedWithFileLineAndText(t *testing.T) {
	for _, path := range append(inputs(t, "invalid/*.hcl"), inputs(t, "invalid/*.json")...) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			cfg, err := Parse(filepath.Base(path), read(t, path))
			var invalid *Invalid
			if cfg != nil || !errors.As(err, &invalid) {
				t.Fatalf("got %v, %v; want an *Invalid", cfg, err)
			}
			var lines strings.Builder
			for _, m := range invalid.Mistakes {
				lines.WriteString(m.String() + "\n")
			}
			golden(t, path+".err", lines.String())
		})
	}
}

func TestAFileWithoutAnExtensionIsReadByItsFirstCharacter(t *testing.T) {
	for name, dir := range map[string]string{"smallest.hcl": "valid/", "smallest.json": "json/"} {
		src := append([]byte("\n \t"), read(t, files+dir+name)...)
		if _, err := Parse("proxy.conf", src); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Parse(strings.ToUpper(name), src); err != nil {
			t.Errorf("%s by its extension in capitals: %v", name, err)
		}
	}
}

func TestWhatWouldExhaustAParserIsRefused(t *testing.T) {
	for name, src := range map[string]string{
		"deep.hcl":  "a = " + strings.Repeat("[", 100_000),
		"deep.json": `{"a": ` + strings.Repeat("[", 100_000),
		"text.hcl":  `a = ` + strings.Repeat(`"${`, 50_000),
		"large.hcl": strings.Repeat("# comment\n", maxFile/10+1),
	} {
		_, err := Parse(name, []byte(src))
		if err == nil || !strings.Contains(err.Error(), name+":1: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"valid/*.hcl", "json/*.json", "invalid/*.hcl", "invalid/*.json"} {
		for _, path := range inputs(f, pattern) {
			f.Add(read(f, path), strings.HasSuffix(path, ".json"))
		}
	}
	f.Fuzz(func(t *testing.T, src []byte, isJSON bool) {
		name := "f.hcl"
		if isJSON {
			name = "f.json"
		}
		before := bytes.Clone(src)
		cfg, err := Parse(name, src)
		if !bytes.Equal(src, before) {
			t.Error("the text was altered")
		}
		if err == nil {
			if m := cfg.Validate(); len(m) > 0 {
				t.Errorf("parsed what is invalid: %v", m)
			}
			return
		}
		var invalid *Invalid
		if cfg != nil || !errors.As(err, &invalid) || len(invalid.Mistakes) == 0 {
			t.Fatalf("got %v, %v; want an *Invalid with mistakes", cfg, err)
		}
		for _, m := range invalid.Mistakes {
			if !strings.HasPrefix(m.Pos, name+":") || m.Problem == "" || strings.ContainsAny(m.String(), "\n\r") {
				t.Errorf("mistake without place or problem, or on two lines: %+v", m)
			}
		}
	})
}

// inputs lists test files.
func inputs(t testing.TB, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(files + pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files match %s: %v", pattern, err)
	}
	return slices.DeleteFunc(paths, func(p string) bool { return strings.HasSuffix(p, ".err") })
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// golden compares with a file, or writes it under -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(read(t, path)), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}
