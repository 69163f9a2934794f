package regularfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Small is how many bytes a file of a token, a password, a certificate or a key has
// at most, in any form.
const Small = 1 << 20

var errIrregular = errors.New("not a regular file: it has to be one that can be read again and again")

// Read returns the content of the file at path. One of more than most bytes is an
// error, and so is anything but a regular file, or a link to one. An error is an
// *fs.PathError.
func Read(path string, most int) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|openAtOnce, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errIrregular}
	}
	content, err := io.ReadAll(io.LimitReader(file, int64(most)+1))
	if err != nil {
		return nil, err
	}
	if len(content) > most {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("longer than the %d bytes that such a file has at most", most)}
	}
	return content, nil
}
