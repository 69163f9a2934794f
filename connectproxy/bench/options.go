//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path"
	"path/filepath"
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
	keep        string // the file of the figures of every round, "" for none
	write       bool   // the documents from that file, and nothing else
}

const (
	// enough is the number of rounds whose figures may stand in the documents;
	// fewer do not tell a difference from chance.
	enough = 6
	// compared is the number of rounds for variants, where nothing else is said.
	compared = 10
)

const help = `Usage: bench [flags]

  Compares connect-proxy with other proxies on this machine and writes what it
  finds to docs/performance.md. make bench BENCH='...' passes flags on.

Before and after

  One run measures this tree's program beside variants of it, in the same rounds
  and in turn, and says the ratio of each round:

    -variant before=@HEAD~1                    another revision, which is built
    -variant before=/tmp/connect-proxy         a program
    -variant 'gogc=env GOGC=50 /tmp/connect-proxy'
    -variant 'json=-log-json'                  this tree's, with more arguments

    make bench BENCH='-variant before=@HEAD~1 -rows new,rtt-1,bulk-1-down -rounds 20'

  The spread is where the true ratio lies with a certainty of 95 %, which takes
  six rounds; twenty show differences of a few percent on a quiet machine. Of
  twenty figures one looks different by chance: measure that row again.

What observing costs

  The peer observed is this tree's program with every connection recorded, whose
  metrics are asked for each second. It takes part where it is named:

    make bench BENCH='-peers observed -rows new,rtt-1,bulk-1-* -rounds 20'

In pieces

  A machine that is quiet for some minutes at a time measures some rows at a
  time into one file, and then writes the documents from that:

    make bench BENCH='-keep bin/bench.json -rows new,bulk-1-*,rtt-1,handshake-*'
    make bench BENCH='-keep bin/bench.json -rows quiet-*'
    make bench BENCH='-keep bin/bench.json -rows fleet,idle'
    make bench BENCH='-keep bin/bench.json -rows held,bulk-4-*,rtt-32,agent'
    make bench BENCH='-keep bin/bench.json -rows sweep,new-beside-1'
    make bench BENCH='-keep bin/bench.json -write'

  Each of these takes less than four minutes on two CPUs.

  Envoy joins where it is in PATH, or where the variable ENVOY names it.

Flags

`

func parse(args []string, out io.Writer) (options, bool) {
	var o options
	var secs float64
	var rows, peers string
	var variants []peer.Kind
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.Usage = func() { fmt.Fprint(out, help); fs.PrintDefaults() }
	fs.IntVar(&o.rounds, "rounds", enough, fmt.Sprintf("how often each row is measured for each peer; without this flag %d times with variants. Some rows, whose figures hardly differ, are measured less often", compared))
	fs.IntVar(&o.sweeps, "sweeps", 1, "how often the figures of the plots over the number of connections are taken")
	fs.Float64Var(&secs, "secs", 0.4, "seconds that one load is measured")
	fs.IntVar(&o.connections, "connections", 10_000, "how many connections the row held holds, if the limit of descriptors allows")
	fs.StringVar(&rows, "rows", "", "only these rows, separated by commas, * standing for any letters: "+strings.Join(rowNames(), ", "))
	fs.StringVar(&peers, "peers", "", "only peers whose names begin so, separated by commas; connect-proxy always is one: "+strings.Join(kindNames(allKinds()), ", "))
	fs.Func("variant", "measure a variant of connect-proxy beside it, and no other peer but those of -peers; repeatable: `NAME=[@REVISION | PROGRAM] [-ARGUMENT...]`", func(text string) error {
		k, err := peer.Variant(text)
		variants = append(variants, k)
		return err
	})
	fs.StringVar(&o.docs, "docs", "docs", "where performance.md and the plots are written; nothing is written after a shortened run or one with variants")
	fs.StringVar(&o.keep, "keep", "", "a `file` that keeps the figures of every round: a run replaces the rows that it measures and leaves the others there; of one that is cut short, those that were finished are kept")
	fs.BoolVar(&o.write, "write", false, "measure nothing and write the documents from the file of -keep")
	if fs.Parse(args) != nil {
		return o, false
	}
	o.window = time.Duration(secs * float64(time.Second))
	asked := false
	fs.Visit(func(f *flag.Flag) { asked = asked || f.Name == "rounds" })
	if len(variants) > 0 && !asked {
		o.rounds = compared
	}
	err := errors.Join(o.choose(rows, peers, variants), o.check())
	if fs.NArg() > 0 {
		err = errors.Join(err, fmt.Errorf("%q is no flag", fs.Arg(0)))
	}
	if err != nil {
		fmt.Fprintln(out, "bench: wrong usage:", err)
		return o, false
	}
	if !o.write && (o.rounds < enough || rows != "" || peers != "" || len(variants) > 0) {
		o.docs = ""
	}
	return o, true
}

// docsBelow is the directory of the documents of a repository.
func (o options) docsBelow(root string) string {
	if filepath.IsAbs(o.docs) {
		return o.docs
	}
	return filepath.Join(root, o.docs)
}

func (o options) check() error {
	switch {
	case o.rounds < 1 || o.sweeps < 0 || o.window <= 0 || o.connections < 1:
		return errors.New("-rounds, -secs and -connections are above zero, and -sweeps is not below")
	case o.write && o.keep == "":
		return errors.New("-write takes the figures from a file: say which with -keep")
	}
	return nil
}

func (o *options) choose(rows, peers string, variants []peer.Kind) error {
	for _, pattern := range fields(rows) {
		names := slices.DeleteFunc(rowNames(), func(name string) bool {
			fits, err := path.Match(pattern, name)
			return !fits || err != nil
		})
		if len(names) == 0 {
			return fmt.Errorf("there is no row %q", pattern)
		}
		o.rows = append(o.rows, names...)
	}
	wanted := fields(peers)
	for _, name := range wanted {
		if !slices.ContainsFunc(allKinds(), func(k peer.Kind) bool { return matches(k, name) }) {
			return fmt.Errorf("there is no peer %q", name)
		}
	}
	for _, k := range allKinds() {
		every := len(wanted) == 0 && len(variants) == 0 && !k.Observed
		if every || k.Name == peer.Ours || slices.ContainsFunc(wanted, func(name string) bool { return matches(k, name) }) {
			o.kinds = append(o.kinds, k)
		}
	}
	o.kinds = append(o.kinds, variants...)
	if slices.ContainsFunc(o.kinds, func(k peer.Kind) bool { return k.Observed }) {
		o.window = max(o.window, peer.ScrapeEvery) // each window has its part of what that costs
	}
	return nil
}

func allKinds() []peer.Kind {
	return append(slices.Concat(peer.Kinds(), peer.Choices()), peer.Observed())
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
