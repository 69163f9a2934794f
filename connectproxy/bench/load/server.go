package load

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
)

// What the first byte of a connection asks for.
const (
	opSink   = 's' // everything is taken, until its end
	opSource = 'd' // bytes come until the client closes
	opAnswer = 'r' // requests are answered, until the end
	opCall   = 'P' // calls are, which begin with POST
)

// chunk is what a transfer reads and writes at a time.
const chunk = 256 << 10

// headerLen is the length of what a request begins with: its own whole length
// and that of its answer, four bytes each.
const headerLen = 8

// filler is what transfers and answers are made of.
var filler = func() []byte {
	b := make([]byte, chunk)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}()

// Serve is the application. It serves until ctx ends and then closes every
// connection; the listener is its own.
func Serve(ctx context.Context, ln net.Listener) error {
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	var work sync.WaitGroup
	defer work.Wait()
	for {
		c, err := ln.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accepting a connection to the application: %w", err)
		}
		work.Go(func() {
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			serve(c)
		})
	}
}

// serve returns when the connection ends, in whatever way.
func serve(c net.Conn) {
	var op [1]byte
	if _, err := io.ReadFull(c, op[:]); err != nil {
		return
	}
	switch op[0] {
	case opSink:
		buf := make([]byte, chunk)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	case opSource:
		for {
			if _, err := c.Write(filler); err != nil {
				return
			}
		}
	case opAnswer:
		r := bufio.NewReaderSize(c, 1<<10)
		for answer(c, r) == nil {
		}
	case opCall:
		answerCalls(c)
	}
}

// answer takes one request and answers it.
func answer(c net.Conn, r *bufio.Reader) error {
	var header [headerLen]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return err
	}
	length := int64(binary.BigEndian.Uint32(header[:4]))
	if _, err := io.CopyN(io.Discard, r, length-headerLen); err != nil {
		return err
	}
	for left := int(binary.BigEndian.Uint32(header[4:])); left > 0; {
		n, err := c.Write(filler[:min(left, chunk)])
		if err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// request is length bytes that ask for an answer of so many.
func request(length, answer int) []byte {
	b := make([]byte, max(length, headerLen))
	copy(b[headerLen:], filler)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	binary.BigEndian.PutUint32(b[4:], uint32(answer))
	return b
}
