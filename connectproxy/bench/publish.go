//go:build linux

package main

import (
	"fmt"
	"slices"

	"connect-proxy/connectproxy/agenttest/agentbuild"
	"connect-proxy/connectproxy/bench/peer"
	"connect-proxy/connectproxy/bench/proc"
	"connect-proxy/connectproxy/bench/report"
)

// publish prints the report and writes what is wanted of it. Of a run that was
// cut short it keeps the rows that were finished.
func (b *bench) publish(whole bool) error {
	found := &results{
		Pieces: []piece{{
			Rows:    b.finished,
			Machine: proc.ThisMachine().String(),
			Run: fmt.Sprintf("%s before and %s after; %d rounds, each load measured for %s; commit %s",
				b.begun, proc.LoadAverage(), b.options.rounds, b.options.window, b.commit),
		}},
		Figures: b.figures,
	}
	b.figures.Keep(func(row string) bool { return slices.Contains(b.finished, row) })
	if slices.ContainsFunc(b.figures.Peers, func(p report.Peer) bool { return !p.Variant && p.Name != peer.Ours }) {
		b.printf("\n%s\n%s\n%s", b.figures.Targets(metrics()), b.figures.All(metrics()), b.figures.Grid(metrics()))
	}
	b.printf("%s", b.figures.Compared(metrics()))
	for _, note := range b.figures.Notes {
		b.printf("note on %s: %s", note.Row, note.Text)
	}
	if b.options.keep != "" && len(b.finished) > 0 {
		earlier, err := readResults(b.options.keep)
		if err == nil && earlier != nil {
			err = found.add(earlier)
		}
		if err == nil {
			err = found.save(b.options.keep)
		}
		if err != nil {
			return err
		}
	}
	if b.options.docs == "" || !whole {
		return nil
	}
	return found.document(b.options.docsBelow(b.lab.Root))
}

// write makes the documents of figures that were kept.
func (b *bench) write() error {
	found, err := readResults(b.options.keep)
	if err != nil {
		return err
	}
	if found == nil {
		return fmt.Errorf("%s is not there yet: measure something into it first", b.options.keep)
	}
	root, err := agentbuild.Root()
	if err != nil {
		return err
	}
	return found.document(b.options.docsBelow(root))
}
