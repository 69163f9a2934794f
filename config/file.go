package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/connectproxy/regularfile"
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
	lastGiven    *Config

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
			if cfg, err := f.decodeIfChanged(now); cfg != nil || err != nil {
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

// decodeIfChanged returns neither where the text changed and its meaning did not.
func (f *FileSource) decodeIfChanged(r reading) (*Config, error) {
	cfg, err := f.parse(r)
	var invalid *Invalid
	errors.As(err, &invalid)
	f.mu.Lock()
	f.invalid = invalid
	f.mu.Unlock()
	switch {
	case err != nil:
		f.lastGiven = nil // whoever hears of the mistake is to hear of its end
		return nil, err
	case f.lastGiven != nil && reflect.DeepEqual(f.lastGiven, cfg):
		f.logger.Debug("configuration file changed and means the same", "file", f.path)
		return nil, nil
	}
	f.lastGiven = cfg
	return cfg, nil
}

func (f *FileSource) parse(r reading) (*Config, error) {
	if r.trouble != "" {
		return nil, &Invalid{Origin: f.path, Mistakes: []Mistake{{Problem: r.trouble}}}
	}
	return Parse(f.path, []byte(r.text))
}

func (f *FileSource) read() reading {
	text, err := regularfile.Read(f.path, maxFile)
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err // the path is in the origin
		}
		return reading{trouble: fmt.Sprintf("cannot be read: %v", err), done: true}
	}
	return reading{text: string(text), done: true}
}
