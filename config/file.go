package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// filePoll is how often a file is looked at. A change is taken once two looks
// in a row have seen the same text: a file that is being written may be valid
// half-way.
const filePoll = 500 * time.Millisecond

// FileSource is a Source that reads a file and reads it again when its content
// changes, however it was replaced: renames, links and clocks do not matter.
type FileSource struct {
	path   string
	logger hclog.Logger

	// What follows belongs to Next.
	judged, seen reading
	given        *Config

	mu      sync.Mutex // guards invalid
	invalid *Invalid
}

var _ Source = (*FileSource)(nil)

// reading is what a look at the file brought. It is comparable.
type reading struct {
	text, trouble string
	done          bool
}

// NewFile makes a Source of the file at path. It reads nothing yet.
func NewFile(path string, logger hclog.Logger) *FileSource {
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	return &FileSource{path: path, logger: logger}
}

// Next is Source's. The first call judges the file as it is, and one that
// cannot be read is an *Invalid like any other mistake.
func (f *FileSource) Next(ctx context.Context) (*Config, error) {
	tick := time.NewTicker(filePoll)
	defer tick.Stop()
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		now := f.read()
		if stable := now == f.seen || !f.judged.done; stable && now != f.judged {
			f.judged = now
			if cfg, err := f.judge(now); cfg != nil || err != nil {
				return cfg, err
			}
		}
		f.seen = now
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// Problem is Source's.
func (f *FileSource) Problem() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.invalid == nil {
		return ""
	}
	return f.invalid.Error()
}

// judge returns neither where the text changed and its meaning did not.
func (f *FileSource) judge(r reading) (*Config, error) {
	cfg, err := f.parse(r)
	var invalid *Invalid
	errors.As(err, &invalid)
	f.mu.Lock()
	f.invalid = invalid
	f.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case f.given != nil && reflect.DeepEqual(f.given, cfg):
		f.logger.Debug("configuration file changed and means the same", "file", f.path)
		return nil, nil
	}
	f.given = cfg
	return cfg, nil
}

func (f *FileSource) parse(r reading) (*Config, error) {
	if r.trouble != "" {
		return nil, &Invalid{Origin: f.path, Mistakes: []Mistake{{Problem: r.trouble}}}
	}
	return Parse(f.path, []byte(r.text))
}

func (f *FileSource) read() reading {
	text, err := readRegular(f.path)
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err // the path is in the origin
		}
		return reading{trouble: fmt.Sprintf("cannot be read: %v", err), done: true}
	}
	return reading{text: text, done: true}
}

var errIrregular = errors.New("not a regular file")

// readRegular keeps away from what can block for ever or be read only once.
func readRegular(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errIrregular
	}
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	// One byte more than Parse takes, so that it can say so.
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	return string(text), err
}
