package mtls

import (
	"crypto/tls"
	"strings"
	"testing"
)

func TestOfAServerNameNoMoreIsKeptThanAHostNameHas(t *testing.T) {
	for n, want := range map[int]int{0: 0, 255: 255, 256: 256, 60_000: 256} {
		s := SessionInfo(tls.ConnectionState{ServerName: strings.Repeat("x", n)}, "", "")
		if len(s.ServerName) != want {
			t.Errorf("of %d bytes %d are kept, want %d", n, len(s.ServerName), want)
		}
	}
}
