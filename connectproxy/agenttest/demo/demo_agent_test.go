package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"connect-proxy/connectproxy/agenttest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func TestTheDemoTellsItsWholeStoryAndLeavesNothingBehind(t *testing.T) {
	agenttest.SkipShort(t)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)

	var out bytes.Buffer
	if err := run(t.Context(), &out, false); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{
		`web got "hello from api, you asked for /books/7"`,
		"/ns/default/dc/dc1/svc/api\n",
		"/ns/default/dc/dc1/svc/web\n",
		"web cannot reach api",
		"reason denied",
		"How to look further",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not part of the story:\n%s", want, out.String())
		}
	}
	entries, err := os.ReadDir(temp)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "connect-proxy-demo-") {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}
