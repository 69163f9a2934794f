//go:build linux

package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"connect-proxy/connectproxy/bench/peer"
)

// options are the command line's.
type options struct {
	rounds, sweeps int
	// window is how long one load is measured.
	window time.Duration
	// connections is how many are held in the row of that name.
	connections int
	rows        []string // empty: all
	kinds       []peer.Kind
	docs        string // the directory of the documents, "" for none
	raw         string // the file of the raw figures, "" for none
}

// enough is the number of rounds whose figures may stand in the documents.
const enough = 5

func parse(args []string, out io.Writer) (options, bool) {
	var o options
	var secs float64
	var rows, peers string
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.IntVar(&o.rounds, "rounds", enough, "how often each row is measured for each peer")
	fs.IntVar(&o.sweeps, "sweeps", 1, "how often the plots' figures are taken")
	fs.Float64Var(&secs, "secs", 1, "seconds that one load is measured")
	fs.IntVar(&o.connections, "connections", 10_000, "how many connections the row held holds, if the limit of descriptors allows")
	fs.StringVar(&rows, "rows", "", "only these rows, separated by commas: "+strings.Join(rowNames(), ", "))
	fs.StringVar(&peers, "peers", "", "only peers whose names begin so, separated by commas; connect-proxy always is one: "+strings.Join(kindNames(peer.Kinds()), ", "))
	fs.StringVar(&o.docs, "docs", "docs", "where performance.md and the plots are written; nothing is written after a shortened run")
	fs.StringVar(&o.raw, "json", "", "a file for the figures of every round")
	if fs.Parse(args) != nil {
		return o, false
	}
	if err := o.choose(rows, peers); err != nil || fs.NArg() > 0 || o.rounds < 1 || o.sweeps < 0 || secs <= 0 || o.connections < 1 {
		fmt.Fprintln(out, "bench: wrong usage:", err)
		fs.Usage()
		return o, false
	}
	o.window = time.Duration(secs * float64(time.Second))
	if o.rounds < enough || rows != "" || peers != "" {
		o.docs = ""
	}
	return o, true
}

func (o *options) choose(rows, peers string) error {
	for _, name := range fields(rows) {
		if !slices.Contains(rowNames(), name) {
			return fmt.Errorf("there is no row %q", name)
		}
		o.rows = append(o.rows, name)
	}
	wanted := fields(peers)
	for _, name := range wanted {
		if !slices.ContainsFunc(peer.Kinds(), func(k peer.Kind) bool { return matches(k, name) }) {
			return fmt.Errorf("there is no peer %q", name)
		}
	}
	for _, k := range peer.Kinds() {
		if len(wanted) == 0 || k.Name == peer.Ours || slices.ContainsFunc(wanted, func(name string) bool { return matches(k, name) }) {
			o.kinds = append(o.kinds, k)
		}
	}
	return nil
}

func matches(k peer.Kind, name string) bool {
	return strings.HasPrefix(strings.ToLower(k.Name), strings.ToLower(name))
}

func fields(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

func kindNames(kinds []peer.Kind) (names []string) {
	for _, k := range kinds {
		names = append(names, k.Name)
	}
	return names
}
