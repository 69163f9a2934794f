package byname_test

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"connect-proxy/listener/listenertest"
)

// A client may send a head of 32 kB, and keep its connection for days.
func TestTheHeadOfARequestIsNotKeptForAsLongAsItsConnection(t *testing.T) {
	echo := listenertest.NewEcho(t)
	p := start(t, allowing("db"), &mesh{services: map[string]string{"db": echo.Addr()}})
	heap := func() int {
		var m runtime.MemStats
		for range 2 {
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	const many = 64
	open := func(head string) (held int) {
		before := heap()
		for range many {
			if got := says(t, p.dial(t), head, len(established)); got != established {
				t.Fatalf("%q", got)
			}
		}
		return (heap() - before) / many
	}
	short := open("CONNECT db:1 HTTP/1.1\r\nHost: db\r\n\r\n")
	for what, head := range map[string]string{
		"port":   "CONNECT db:" + strings.Repeat("0", 28<<10) + "1 HTTP/1.1\r\nHost: db\r\n\r\n",
		"header": "CONNECT db:1 HTTP/1.1\r\nHost: db\r\nX: " + strings.Repeat("1", 28<<10) + "\r\n\r\n",
		"bytes":  "CONNECT db:1 HTTP/1.1\r\nHost: db\r\n\r\n" + strings.Repeat("1", 28<<10),
	} {
		if long := open(head); long > short+12<<10 {
			t.Errorf("a connection holds %d bytes, and %d with a long %s", short, long, what)
		}
	}
}

func TestTheNameOfAUserIsBounded(t *testing.T) {
	p := start(t, allowing("db"), &mesh{})
	r, err := http.NewRequest(http.MethodConnect, "http://db", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(strings.Repeat("x", 256), "")
	head := "CONNECT db:1 HTTP/1.1\r\nProxy-Authorization: " + r.Header.Get("Authorization") + "\r\n\r\n"
	c := p.dial(t)
	_, _ = io.WriteString(c, head)
	if got := rest(t, c); !strings.Contains(got, " 407 ") || !strings.Contains(got, "more than 255 bytes") {
		t.Errorf("%.300q", got)
	}
}
