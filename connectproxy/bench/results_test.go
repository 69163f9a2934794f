//go:build linux

package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"connect-proxy/connectproxy/bench/peer"
	"connect-proxy/connectproxy/bench/report"
)

// resultsOf are made-up results of some rows.
func resultsOf(value float64, machine string, names ...string) *results {
	f := report.New(peer.Ours, []report.Peer{{Name: "stunnel"}, {Name: peer.Ours, Version: "1"}})
	for _, r := range rows() {
		for round := range enough {
			if slices.Contains(names, r.name) {
				f.Add(r.metrics[0].Key, peer.Ours, round, value)
			}
		}
	}
	return &results{Pieces: []piece{{Rows: names, Machine: machine, Run: "run"}}, Figures: f}
}

func TestPiecesAddUpToOneFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kept", "bench.json")
	if r, err := readResults(file); r != nil || err != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := resultsOf(1, "here", "new", "rtt-1").save(file); err != nil {
		t.Fatal(err)
	}
	earlier, err := readResults(file)
	if err != nil {
		t.Fatal(err)
	}
	second := resultsOf(2, "here", "rtt-1", "held")
	if err := second.add(earlier); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]float64{"new.rate": 1, "rtt-1.p50": 2, "held.served": 2} {
		if s, _ := second.Figures.Summary(key, peer.Ours); s.Median != want {
			t.Errorf("%s is %v", key, s.Median)
		}
	}
	if len(second.Pieces) != 2 || strings.Join(second.Pieces[1].Rows, " ") != "new" {
		t.Errorf("%+v", second.Pieces)
	}
	if err := resultsOf(3, "elsewhere", "new").add(earlier); err == nil {
		t.Error("figures of two machines were mixed")
	}
}

func TestDocumentsWantEveryRow(t *testing.T) {
	all := rowNames()
	if err := resultsOf(1, "here", all...).complete(); err != nil {
		t.Error(err)
	}
	without := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return name == "held" })
	if err := resultsOf(1, "here", without...).complete(); err == nil || !strings.Contains(err.Error(), "held") {
		t.Errorf("%v", err)
	}
	few := resultsOf(1, "here", all...)
	few.Figures.Values["new.rate"][peer.Ours] = few.Figures.Values["new.rate"][peer.Ours][:enough-1]
	if err := few.complete(); err == nil || !strings.Contains(err.Error(), "new has 5 of 6") {
		t.Errorf("%v", err)
	}
}

func TestPeersStandInTheReportsOrder(t *testing.T) {
	got := ordered([]report.Peer{{Name: "mine", Variant: true}, {Name: "stunnel"}, {Name: "HAProxy"}, {Name: peer.Ours}})
	for i, want := range []string{peer.Ours, "HAProxy", "stunnel", "mine"} {
		if got[i].Name != want {
			t.Errorf("%d is %s, not %s", i, got[i].Name, want)
		}
	}
}
