package certfiles

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"connect-proxy/connectproxy/regularfile"
)

// content is what the files hold, all read at one moment; one that could not be read
// is nil.
type content struct {
	certificate, key, pkcs12, ca []byte
	password                     string
	sum                          [sha256.Size]byte
	unread                       faults // a file each that could not be read
	err                          error  // why it is not in force
}

func (f *Files) keyFile() string {
	if f.o.Key == "" {
		return f.o.Certificate
	}
	return f.o.Key
}

// read reads all files at once.
func (f *Files) read() content {
	var c content
	var password []byte
	h := sha256.New()
	for _, file := range []struct {
		path string
		to   *[]byte
	}{
		{f.o.Certificate, &c.certificate}, {f.keyFile(), &c.key}, {f.o.PKCS12, &c.pkcs12},
		{f.o.PasswordFile, &password}, {f.o.CA, &c.ca},
	} {
		if file.path == "" {
			continue
		}
		text, err := readFile(file.path)
		if err != nil {
			c.unread = append(c.unread, err)
		}
		*file.to = text
		fmt.Fprintf(h, "%d:", len(text))
		h.Write(text)
	}
	first, _, _ := strings.Cut(string(password), "\n")
	c.password = strings.TrimSuffix(first, "\r")
	for _, err := range c.unread {
		fmt.Fprint(h, err)
	}
	h.Sum(c.sum[:0])
	return c
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// readFile reads a file, without the byte order mark that some editors leave.
func readFile(path string) ([]byte, error) {
	text, err := regularfile.Read(path, regularfile.Small)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist: check its name", path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s may not be read by this user: change its owner or its permissions", path)
	case err != nil:
		return nil, err // it names the file
	case len(bytes.TrimSpace(text)) == 0:
		return nil, fmt.Errorf("%s is empty", path)
	}
	return bytes.TrimPrefix(text, byteOrderMark), nil
}

// unwise says of the files with a key or a password in them that others may read
// them.
func (f *Files) unwise() []string {
	var found []string
	for _, path := range []string{f.keyFile(), f.o.PKCS12, f.o.PasswordFile} {
		if path == "" {
			continue
		}
		if info, err := os.Stat(path); err == nil && othersRead(info.Mode()) {
			found = append(found, fmt.Sprintf("every user of this machine may read %s, which holds a secret: chmod o-rwx it", path))
		}
	}
	return found
}
