//go:build !unix

package logwriter

import (
	"os"
	"time"
)

// appendMode opens a file to append to.
const appendMode = os.O_WRONLY | os.O_APPEND | os.O_CREATE

// file is written to by writes that may block: there is no way to ask first.
type file struct{ f *os.File }

var _ output = file{}

func newFile(f *os.File) output { return file{f} }

func (d file) write(p []byte, _ time.Duration) (int, error) { return d.f.Write(p) }

func (file) together() int { return maxTogether }

func (file) gone(error) bool { return false }
