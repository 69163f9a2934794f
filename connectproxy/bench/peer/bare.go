//go:build linux

package peer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
)

// BareCommand is the argument with which this program is one side of the bare
// pair; next come the side, its certificate, the authority's, the address to
// listen on and the one to dial.
const BareCommand = "bare"

// Bare is a proxy as a first program in Go would be: crypto/tls, two goroutines
// a connection that copy, and nothing else. It resumes sessions. It runs until
// ctx ends.
func Bare(ctx context.Context, args []string) error {
	if len(args) != 5 {
		return errors.New("the bare proxy wants a side, two files and two addresses")
	}
	cfg, err := bareTLS(args[1], args[2])
	if err != nil {
		return err
	}
	var plain net.Listener
	if plain, err = net.Listen("tcp", args[3]); err != nil {
		return fmt.Errorf("binding the bare proxy: %w", err)
	}
	defer context.AfterFunc(ctx, func() { plain.Close() })()
	ln, dial := plain, func() (net.Conn, error) { return tls.Dial("tcp", args[4], cfg) }
	if args[0] == "server" {
		ln = tls.NewListener(plain, cfg)
		dial = func() (net.Conn, error) { return net.Dial("tcp", args[4]) }
	}
	for {
		c, err := ln.Accept()
		if ctx.Err() != nil {
			return nil // the connections end with the process
		}
		if err != nil {
			return fmt.Errorf("accepting: %w", err)
		}
		go bareConn(c, dial)
	}
}

func bareTLS(certificate, authority string) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(certificate, certificate)
	if err != nil {
		return nil, fmt.Errorf("reading a certificate: %w", err)
	}
	text, err := os.ReadFile(authority)
	if err != nil {
		return nil, fmt.Errorf("reading the authority: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return &tls.Config{
		Certificates:       []tls.Certificate{cert},
		RootCAs:            pool,
		ClientCAs:          pool,
		ClientAuth:         tls.RequireAndVerifyClientCert,
		ServerName:         serverName,
		MinVersion:         tls.VersionTLS13,
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}, nil
}

func bareConn(c net.Conn, dial func() (net.Conn, error)) {
	defer c.Close()
	if t, ok := c.(*tls.Conn); ok && t.Handshake() != nil {
		return
	}
	far, err := dial()
	if err != nil {
		return
	}
	defer far.Close()
	var work sync.WaitGroup
	work.Go(func() { bareCopy(far, c) })
	bareCopy(c, far)
	work.Wait()
}

// bareCopy passes on what comes and its end.
func bareCopy(dst, src net.Conn) {
	_, err := io.Copy(dst, src)
	if w, ok := dst.(interface{ CloseWrite() error }); ok && err == nil {
		_ = w.CloseWrite()
		return
	}
	dst.Close()
	src.Close()
}
