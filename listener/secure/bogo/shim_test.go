package bogo

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"connect-proxy/listener/secure"
)

// The paths on which a shim can carry a connection.
const (
	pathCryptoTLS = "crypto/tls" // nothing of ours
	pathKept      = "kept"       // package secure, which leaves the records to crypto/tls
	pathDetached  = "detached"   // package secure's own records
	pathRelayed   = "relayed"    // package relay between the runner and a TCP connection
)

// exitUnimplemented tells the runner that the shim cannot do what is asked.
const exitUnimplemented = 89

// patience bounds a shim's life.
const patience = 45 * time.Second

// stream is an application's view of a connection. Read ends with io.EOF only
// where the peer has ended its direction.
type stream interface {
	io.ReadWriter
	CloseWrite() error
}

// shim does for the runner what its flags say and returns the exit code.
func shim(path string, args []string) int {
	if slices.Contains(args, "-is-handshaker-supported") {
		fmt.Println("No")
		return 0
	}
	f, err := parse(args)
	if err != nil || f.keyUpdate && path != pathDetached {
		return exitUnimplemented // only our own records can be told to replace their key
	}
	time.AfterFunc(patience, func() {
		fmt.Fprintln(os.Stderr, "the shim has waited for too long")
		os.Exit(1) //nolint:forbidigo // the shim is a process of its own, which the runner waits for
	})
	cfg, err := f.config()
	for i := 0; err == nil && i <= f.resumeCount; i++ {
		err = f.connect(cfg, i == 0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// connect makes one connection to the runner and carries it to its end.
func (f *flags) connect(cfg *tls.Config, first bool) error {
	host := "127.0.0.1"
	if f.ipv6 {
		host = "::1"
	}
	raw, err := net.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(f.port)))
	if err != nil {
		return err
	}
	defer raw.Close()
	if _, err := raw.Write(binary.LittleEndian.AppendUint64(nil, f.id)); err != nil {
		return err
	}
	if f.path == pathRelayed {
		return f.relayed(cfg, raw.(*net.TCPConn), first)
	}
	s, cs, err := f.open(cfg, raw)
	if err == nil {
		err = f.exchange(s, cs, first)
	}
	if err != nil {
		drain(raw.(*net.TCPConn))
	}
	return err
}

// open shakes hands over raw on one of the paths that need no relay.
func (f *flags) open(cfg *tls.Config, raw net.Conn) (stream, tls.ConnectionState, error) {
	if f.path == pathCryptoTLS {
		c := tls.Client(raw, cfg)
		if f.server {
			c = tls.Server(raw, cfg)
		}
		err := c.Handshake()
		return c, c.ConnectionState(), err
	}
	c, err := f.handshake(cfg, raw)
	if err != nil {
		return nil, tls.ConnectionState{}, err
	}
	cs := c.ConnectionState()
	if !c.Detachable() { // handshake has seen to it that it may stay so
		return c, cs, nil
	}
	d, _ := c.Detach()
	return &detached{Detached: d, room: make([]byte, 0, 64<<10), src: d.Unread, unsent: d.Unsent}, cs, nil
}

// handshake makes a connection of package secure, which must be one that can be
// detached if f's path is about such.
func (f *flags) handshake(cfg *tls.Config, raw net.Conn) (c *secure.Conn, err error) {
	config := &secure.Config{TLS: cfg, OwnRecords: f.path != pathKept}
	if f.server {
		c, err = config.Server(context.Background(), raw)
	} else {
		c, err = config.Client(context.Background(), raw)
	}
	if err != nil {
		return nil, err
	}
	if want := config.OwnRecords && c.ConnectionState().Version == tls.VersionTLS13; c.Detachable() != want {
		return nil, fmt.Errorf("that the connection can be detached is %v", !want)
	}
	return c, nil
}

// exchange is the application of the runner's tests.
func (f *flags) exchange(s stream, cs tls.ConnectionState, first bool) error {
	if err := f.begin(s, cs, first); err != nil {
		return err
	}
	if !f.shutsDown {
		return errors.Join(echo(s), f.check(cs))
	}
	if err := s.CloseWrite(); err != nil {
		return err
	}
	if f.checkCloseNotify {
		if _, err := io.Copy(io.Discard, s); err != nil {
			return err
		}
	}
	return f.check(cs)
}

// begin writes what comes before anything is read.
func (f *flags) begin(s stream, cs tls.ConnectionState, first bool) error {
	if d, ok := s.(*detached); ok && f.keyUpdate {
		if err := d.update(); err != nil {
			return err
		}
	}
	var begin []byte
	if f.exportLen > 0 {
		var use []byte // a context that is empty is not none before TLS 1.3
		if f.useExportContext {
			use = []byte(f.exportContext)
		}
		material, err := cs.ExportKeyingMaterial(f.exportLabel, use, f.exportLen)
		if err != nil {
			return err
		}
		begin = material
	}
	if f.writesFirst && first {
		begin = append(begin, "hello"...)
	}
	if len(begin) == 0 {
		return nil
	}
	_, err := s.Write(begin)
	return err
}

// echo sends back what comes with all bits inverted, to the peer's end and with
// one of its own.
func echo(s stream) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := s.Read(buf)
		for i := range n {
			buf[i] ^= 0xff
		}
		if n > 0 {
			if _, werr := s.Write(buf[:n]); werr != nil {
				return werr
			}
		}
		if err == io.EOF {
			_ = s.CloseWrite() // the runner may have gone
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// drain ends a connection without a reset, so that the runner, which may be
// writing, comes to read the alert that was sent.
func drain(raw *net.TCPConn) {
	_ = raw.CloseWrite()
	_, _ = io.Copy(io.Discard, raw)
}
