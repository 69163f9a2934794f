package logwriter

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// checkEvery is how often it is looked whether another file has the name.
const checkEvery = time.Second

// StartPath begins to write to the file at path, to which it appends. It creates
// the file where it is missing, with mode 0640 before the umask, and opens it again
// when there is another one at path or none, as after a rotation; that is looked
// for once a second. While it cannot be opened, lines are queued, and dropped where
// they do not fit, and Err says why. A named pipe is written to while somebody reads
// it.
func StartPath(path string, o Options) *Writer { return start(&namedFile{path: path}, o) }

// namedFile is the file that has a name. All but reopen is called by one goroutine.
type namedFile struct {
	path    string
	stale   atomic.Bool // set by reopen
	f       *os.File    // nil while it cannot be opened
	to      output      // f
	checked time.Time
}

var _ output = (*namedFile)(nil)

// reopen has the file opened again before the next line.
func (d *namedFile) reopen() { d.stale.Store(true) }

// begin says that a line begins: only then may another file take over.
func (d *namedFile) begin() {
	if d.f == nil || !d.stale.Swap(false) && !d.replaced() {
		return
	}
	d.close()
}

// replaced reports whether the name is another file's by now.
func (d *namedFile) replaced() bool {
	now := time.Now()
	if now.Sub(d.checked) < checkEvery {
		return false
	}
	d.checked = now
	there, err := os.Stat(d.path)
	if errors.Is(err, os.ErrNotExist) {
		return true
	}
	ours, errOurs := d.f.Stat()
	return err == nil && errOurs == nil && !os.SameFile(there, ours)
}

func (d *namedFile) close() {
	if d.f != nil {
		_ = d.f.Close()
		d.f, d.to = nil, nil
	}
}

// open opens the file, unless it is open.
func (d *namedFile) open() error {
	if d.f != nil {
		return nil
	}
	f, err := os.OpenFile(d.path, appendMode, 0o640)
	if errors.Is(err, syscall.ENXIO) {
		err = fmt.Errorf("open %s: nobody reads this pipe", d.path)
	}
	if err != nil {
		return err
	}
	d.f, d.to, d.checked = f, newFile(f), time.Now()
	return nil
}

func (d *namedFile) write(p []byte, wait time.Duration) (int, error) {
	if err := d.open(); err != nil {
		return 0, err
	}
	n, err := d.to.write(p, wait)
	if err != nil && !errors.Is(err, errFull) {
		err = fmt.Errorf("write %s: %w", d.path, err)
	}
	return n, err
}

func (d *namedFile) together() int {
	if d.to == nil {
		return 0
	}
	return d.to.together()
}

func (d *namedFile) gone(err error) bool { return d.to != nil && d.to.gone(err) }
