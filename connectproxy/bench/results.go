//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"connect-proxy/connectproxy/bench/report"
)

// piece says how some rows were measured.
type piece struct {
	Rows []string
	// Machine and Run are for people. Pieces of two machines do not mix.
	Machine, Run string
}

// results are what a file keeps between runs.
type results struct {
	Pieces  []piece
	Figures *report.Figures
}

// readResults reads what a file keeps; those of a file that is not there are nil.
func readResults(file string) (*results, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the figures that were kept: %w", err)
	}
	r := &results{}
	if err := json.Unmarshal(text, r); err != nil || r.Figures == nil {
		return nil, fmt.Errorf("reading the figures that were kept: %s is not such a file: %w", file, err)
	}
	return r, nil
}

// add takes over what an earlier run measured and this one did not.
func (r *results) add(earlier *results) error {
	measured := map[string]bool{}
	for _, p := range r.Pieces {
		for _, row := range p.Rows {
			measured[row] = true
		}
	}
	for _, p := range earlier.Pieces {
		if p.Machine != r.Pieces[0].Machine {
			return fmt.Errorf("adding to figures that were taken on another machine (%s): take another file", p.Machine)
		}
		p.Rows = slices.DeleteFunc(slices.Clone(p.Rows), func(row string) bool { return measured[row] })
		if len(p.Rows) > 0 {
			r.Pieces = append(r.Pieces, p)
		}
	}
	r.Figures.Merge(earlier.Figures, func(row string) bool { return measured[row] })
	return nil
}

// save writes results and the plots beside them.
func (r *results) save(file string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("encoding the figures: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("making room for the figures: %w", err)
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return fmt.Errorf("writing the figures: %w", err)
	}
	_, err = draw(r.Figures, filepath.Dir(file))
	return err
}

// complete says what is missing for the documents.
func (r *results) complete() error {
	var errs []error
	for _, row := range rows() {
		want := enough
		if row.rounds > 0 {
			want = row.rounds
		}
		key := row.metrics[0].Key
		if n := len(r.Figures.Values[key][r.Figures.Ours]); n < want {
			errs = append(errs, fmt.Errorf("row %s has %d of %d rounds", row.name, n, want))
		}
	}
	if !slices.ContainsFunc(r.Pieces, func(p piece) bool { return slices.Contains(p.Rows, sweepName) }) {
		errs = append(errs, fmt.Errorf("row %s is missing", sweepName))
	}
	return errors.Join(errs...)
}

// document writes performance.md and the plots.
func (r *results) document(dir string) error {
	if err := r.complete(); err != nil {
		return fmt.Errorf("the documents want every row:\n%w", err)
	}
	about := []string{"machine: " + r.Pieces[0].Machine}
	for _, p := range r.Pieces {
		about = append(about, fmt.Sprintf("`%s`: %s", strings.Join(p.Rows, "`, `"), p.Run))
	}
	r.Figures.Peers = ordered(r.Figures.Peers)
	plots, err := draw(r.Figures, dir)
	if err != nil {
		return err
	}
	return report.RewriteFile(filepath.Join(dir, "performance.md"), r.Figures.Section(metrics(), about, plots))
}

// ordered puts peers in the order of the report, whichever run knew them first.
func ordered(peers []report.Peer) []report.Peer {
	names := kindNames(allKinds())
	place := func(p report.Peer) int {
		if i := slices.Index(names, p.Name); i >= 0 {
			return i
		}
		return len(names)
	}
	peers = slices.Clone(peers)
	slices.SortStableFunc(peers, func(a, b report.Peer) int { return place(a) - place(b) })
	return peers
}
