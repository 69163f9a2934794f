package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connect-proxy/config"
)

func TestFilesForEtcdThatCannotBeUsedAreNamed(t *testing.T) {
	dir := t.TempDir()
	empty, word := filepath.Join(dir, "empty"), filepath.Join(dir, "word")
	for name, text := range map[string]string{empty: "\n", word: "secret\r\nmore\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := readPassword(word); got != "secret" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := readPassword(empty); err == nil || !strings.Contains(err.Error(), empty) {
		t.Error(err)
	}
	for _, e := range []config.Etcd{{CAFile: word}, {CAFile: filepath.Join(dir, "none")}, {CertFile: word, KeyFile: word}} {
		if _, err := readTLS(e); err == nil || !strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", e, err)
		}
	}
}

func TestADestinationThatCannotBeAskedForSaysWhy(t *testing.T) {
	r := newResolver(config.Destination{Type: config.EtcdKeys, Name: "/srv/redis"}, nil)
	if err := r.Status().Err; err == nil || !strings.Contains(err.Error(), "no endpoint") {
		t.Error(err)
	}
}
