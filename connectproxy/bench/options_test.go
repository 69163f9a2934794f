//go:build linux

package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"connect-proxy/connectproxy/bench/peer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAShortenedRunWritesNoDocument(t *testing.T) {
	for line, docs := range map[string]string{
		"":                  "docs",
		"-secs 0.5":         "docs",
		"-docs out":         "out",
		"-rounds 4":         "",
		"-rows new":         "",
		"-peers haproxy":    "",
		"-docs= -rounds 11": "",
	} {
		var out bytes.Buffer
		if o, ok := parse(strings.Fields(line), &out); !ok || o.docs != docs {
			t.Errorf("%q: %q, %v, %s", line, o.docs, ok, out.String())
		}
	}
}

func TestRowsAndPeersAreChosenByName(t *testing.T) {
	var out bytes.Buffer
	o, ok := parse(strings.Fields("-rows rtt-1,sweep -peers consul,NGINX -secs 0.25"), &out)
	if !ok || strings.Join(o.rows, " ") != "rtt-1 sweep" || o.window != 250*time.Millisecond {
		t.Errorf("%+v, %s", o, out.String())
	}
	if got := strings.Join(kindNames(o.kinds), ", "); got != "connect-proxy, consul connect proxy, nginx stream" {
		t.Errorf("%s", got)
	}
	if o, ok := parse(nil, &out); !ok || len(o.kinds) != len(peer.Kinds()) {
		t.Errorf("%v", kindNames(o.kinds))
	}
}

func TestWrongUsageIsNamed(t *testing.T) {
	for line, want := range map[string]string{
		"-rows rtt-2":  `there is no row "rtt-2"`,
		"-peers envoy": `there is no peer "envoy"`,
		"-rounds 0":    "wrong usage",
		"-secs 0":      "wrong usage",
		"extra":        "wrong usage",
		"-bogus":       "not defined",
	} {
		var out bytes.Buffer
		if _, ok := parse(strings.Fields(line), &out); ok || !strings.Contains(out.String(), want) {
			t.Errorf("%q: %v, %s", line, ok, out.String())
		}
	}
}

func TestEveryMetricHasItsOwnKeyAndName(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range metrics() {
		for _, name := range []string{m.Key, m.Work + ", " + m.Unit} {
			if name == "" || seen[name] {
				t.Errorf("%q is there twice", name)
			}
			seen[name] = true
		}
	}
	if len(seen) < 40 {
		t.Errorf("only %d", len(seen))
	}
}
