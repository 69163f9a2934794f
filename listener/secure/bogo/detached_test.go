package bogo

import (
	"io"

	"connect-proxy/listener/secure"
)

// detached is a stream over a detached connection.
type detached struct {
	secure.Detached
	src     []byte // not opened yet
	unsent  []byte // to be written first
	room    []byte // for content
	content []byte // not read yet
	err     error  // behind the content
}

func (d *detached) Read(p []byte) (int, error) {
	for len(d.content) == 0 {
		if d.err != nil {
			if alert := d.Records.Refuse(nil, d.err); len(alert) > 0 {
				_ = d.send(alert)
			}
			return 0, d.err
		}
		var used int
		d.content, used, d.err = d.Records.Open(d.room[:0], d.src)
		d.src = d.src[used:]
		if d.Records.KeyUpdatePending() {
			if err := d.send(d.Records.Seal(nil, nil)); err != nil {
				return 0, err
			}
		}
		if used == 0 && d.err == nil {
			d.err = d.fill()
		}
	}
	n := copy(p, d.content)
	d.content = d.content[n:]
	return n, nil
}

func (d *detached) fill() error {
	if err := d.send(nil); err != nil {
		return err
	}
	more := make([]byte, 64<<10)
	n, err := d.Raw.Read(more)
	d.src = append(d.src, more[:n]...)
	if err == io.EOF {
		err = secure.ErrTruncated
	}
	return err
}

func (d *detached) Write(p []byte) (int, error) {
	return len(p), d.send(d.Records.Seal(nil, append([]byte(nil), p...)))
}

func (d *detached) CloseWrite() error { return d.send(d.Records.CloseNotify(nil)) }

// update replaces our sending key.
func (d *detached) update() error { return d.send(d.Records.Update(nil, false)) }

// send writes sealed behind what is unsent.
func (d *detached) send(sealed []byte) error {
	all := append(d.unsent, sealed...)
	if d.unsent = nil; len(all) == 0 {
		return nil
	}
	_, err := d.Raw.Write(all)
	return err
}
