package relay

import (
	"errors"
	"io"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"connect-proxy/listener/secure"
)

func TestAClientThatCannotBeHandedBackIsReset(t *testing.T) {
	r := newRefusal(t, true)
	theirs := r.begin(r.client, nil, 64<<10)
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: old.Max}))
	defer func() { must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old)) }()
	must(t, theirs.Refuse(secure.RefusedService))
	if res := r.result(t); res.End != UpstreamReset || res.Undelivered != nil {
		t.Errorf("%+v", res)
	}
	if _, err := io.ReadAll(r.app); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client sees %v, not a reset", err)
	}
}
