//go:build linux

package main

import (
	"bytes"
	"slices"
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
		"-rounds 5":         "",
		"-rows new":         "",
		"-peers haproxy":    "",
		"-variant a=":       "",
		"-keep x -write":    "docs",
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
	if o, ok := parse(nil, &out); !ok || len(o.kinds) != len(peer.Kinds())+len(peer.Choices()) {
		t.Errorf("%v", kindNames(o.kinds))
	}
	if o, ok := parse(strings.Fields("-rows rtt-*,held"), &out); !ok || strings.Join(o.rows, " ") != "rtt-1 rtt-32 held" {
		t.Errorf("%v", o.rows)
	}
}

func TestWhatObservingCostsIsMeasuredWhereItIsAskedForAndInWholeSeconds(t *testing.T) {
	var out strings.Builder
	o, ok := parse([]string{"-peers", "observed", "-rows", "new"}, &out)
	if !ok || len(o.kinds) != 2 || !o.kinds[1].Observed || o.window < peer.ScrapeEvery {
		t.Errorf("%+v: %s", o, &out)
	}
	if o, ok := parse([]string{"-rows", "new"}, &out); !ok || slices.ContainsFunc(o.kinds, func(k peer.Kind) bool { return k.Observed }) {
		t.Errorf("%+v: %s", o, &out)
	}
}

func TestVariantsAreComparedWithOursAlone(t *testing.T) {
	var out bytes.Buffer
	o, ok := parse([]string{"-variant", "json=-log-json", "-variant", "plain="}, &out)
	if got := strings.Join(kindNames(o.kinds), ", "); !ok || got != "connect-proxy, json, plain" || o.rounds != compared {
		t.Errorf("%s, %d rounds, %s", got, o.rounds, out.String())
	}
	o, ok = parse([]string{"-peers", "hap", "-variant", "plain=", "-rounds", "3"}, &out)
	if got := strings.Join(kindNames(o.kinds), ", "); !ok || got != "connect-proxy, HAProxy, plain" || o.rounds != 3 {
		t.Errorf("%s, %d rounds, %s", got, o.rounds, out.String())
	}
}

func TestWrongUsageIsNamed(t *testing.T) {
	for line, want := range map[string]string{
		"-rows rtt-2":  `there is no row "rtt-2"`,
		"-peers squid": `there is no peer "squid"`,
		"-rows quiet":  `there is no row "quiet"`,
		"-variant x":   "a variant is",
		"-write":       "-keep",
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
