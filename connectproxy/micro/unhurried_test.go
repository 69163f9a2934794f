package micro

import (
	"net"
	"testing"
	"time"
)

// deadlines counts how often somebody is given more time.
type deadlines struct {
	net.Conn
	set, written int
}

func (d *deadlines) SetWriteDeadline(time.Time) error { d.set++; return nil }

func (d *deadlines) Write(b []byte) (int, error) {
	d.written += len(b)
	return len(b), nil
}

func TestAStrangerHasTimeForEachPieceOfALongAnswer(t *testing.T) {
	d := &deadlines{}
	n, err := (&unhurriedConn{d}).Write(make([]byte, 4<<20+1))
	if err != nil || n != 4<<20+1 || d.written != n || d.set != 4<<20/writePiece+1 {
		t.Errorf("%d of %d written, in %d pieces, %v", n, d.written, d.set, err)
	}
}
