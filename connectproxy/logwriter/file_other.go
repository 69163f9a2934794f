//go:build !unix

package logwriter

import (
	"os"
	"time"
)

// file is written to by writes that may block: there is no way to ask first.
type file struct{ f *os.File }

var _ destination = file{}

func newFile(f *os.File) destination { return file{f} }

func (d file) write(p []byte, _ time.Duration) (int, error) { return d.f.Write(p) }

func (file) gone(error) bool { return false }
