package relay

import "slices"

// replay keeps what a client has sent for as long as it may have to be sent
// again, to another upstream.
type replay struct {
	most int // zero once nothing is kept any more
	sent []byte
}

func newReplay(o Options) replay {
	r := replay{most: o.Replay}
	if len(o.First) > 0 {
		r.pass(0, o.First)
	}
	return r
}

// pass notes bytes that the client (side 0) or the upstream has sent. With the
// upstream's first, or when the client has sent more than is kept, nothing can
// be sent again.
func (r *replay) pass(side int, p []byte) {
	if r.most == 0 || len(p) == 0 {
		return
	}
	if side != 0 || len(r.sent)+len(p) > r.most {
		*r = replay{}
		return
	}
	r.sent = append(slices.Grow(r.sent, len(p)), p...)
}

// possible reports whether the connection can be begun anew.
func (r *replay) possible() bool { return r.most > 0 }
