package edge

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"connect-proxy/connectproxy/fileowner"
)

// accountFile has the key of the account. No host has this name: it has no dot.
const accountFile = "account_key"

// cache is a directory of keys and certificates. Those of each CA have one of their
// own in it: what a CA for trials has given is not shown where another is asked.
type cache struct{ root, dir string }

func newCache(root, directoryURL string) cache {
	name := directoryURL
	if u, err := url.Parse(directoryURL); err == nil {
		name = u.Host + u.Path
	}
	root = filepath.Clean(root)
	return cache{root, filepath.Join(root, strings.Trim(strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '_'
	}, name), "."))}
}

// spare is how much there must be room for before anything is ordered, in bytes.
const spare = 64 << 10

// check makes the directories if there are none, and refuses those that others may
// look into or that cannot be written to: what a CA gives is lost without them, and
// CAs give few.
func (c cache) check() error {
	for _, dir := range []string{c.root, c.dir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := private(dir); err != nil {
			return err
		}
	}
	name, err := c.writeNew(make([]byte, spare))
	return c.nothingKept(errors.Join(err, removed(name)))
}

// nothingKept is an error of writeNew that is the same each time: without the name of
// the file.
func (c cache) nothingKept(err error) error {
	if err == nil {
		return nil
	}
	var named *fs.PathError
	if errors.As(err, &named) {
		err = named.Err
	}
	return fmt.Errorf("nothing can be kept in %s: %w", c.dir, err)
}

// private refuses a directory that others may look into, or that belongs to another
// user, who may then open it.
func private(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is no directory", dir)
	case openToOthers(info):
		return fmt.Errorf("%s is open to others (mode %#o), and is for private keys: chmod 700 it", dir, info.Mode().Perm())
	case !ours(info):
		return fmt.Errorf("%s belongs to another user, and is for private keys: chown it to the one that this proxy runs as", dir)
	}
	return nil
}

func ours(info fs.FileInfo) bool { return fileowner.IsThisUser(info) || runtime.GOOS == "windows" }

func openToOthers(info fs.FileInfo) bool {
	return info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows"
}

// writeNew writes a file under a name that nothing else has.
func (c cache) writeNew(b []byte) (name string, err error) {
	f, err := os.CreateTemp(c.dir, ".new-*") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(b)
	return f.Name(), errors.Join(err, f.Sync(), f.Close())
}

// put writes a file, whole or not at all.
func (c cache) put(name string, b []byte) error {
	written, err := c.writeNew(b)
	if err == nil {
		err = os.Rename(written, filepath.Join(c.dir, name))
	}
	if err != nil {
		return errors.Join(err, removed(written))
	}
	return nil
}

func removed(name string) error {
	if name == "" {
		return nil
	}
	return os.Remove(name)
}

// get reads a file; one that others may read too, or have written, is not used.
func (c cache) get(name string) ([]byte, error) {
	for _, dir := range []string{c.root, c.dir} {
		if err := private(dir); err != nil {
			return nil, err
		}
	}
	path := filepath.Join(c.dir, name)
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case openToOthers(info):
		return nil, fmt.Errorf("%s is open to others (mode %#o), and so is the key in it: it is not used", path, info.Mode().Perm())
	case !ours(info):
		return nil, fmt.Errorf("%s belongs to another user, who knows the key in it: it is not used", path)
	case info.Size() > maxAnswer:
		return nil, fmt.Errorf("%s has %d bytes, more than keys and certificates have", path, info.Size())
	}
	return os.ReadFile(path)
}

// account is the key of the account at the CA, made where there is none.
func (c cache) account() (crypto.Signer, error) {
	b, err := c.get(accountFile)
	if err == nil {
		block, _ := pem.Decode(b)
		if block != nil {
			if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
				return key, nil
			}
		}
		return nil, fmt.Errorf("%s has no key of an account: put it back, or remove it to have a new account", filepath.Join(c.dir, accountFile))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, text, err := newKey()
	if err != nil {
		return nil, err
	}
	return key, c.put(accountFile, text)
}

// newKey is a key, also in PEM form.
func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	var b bytes.Buffer
	err = pem.Encode(&b, &pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	return key, b.Bytes(), err
}
