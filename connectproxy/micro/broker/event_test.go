package broker

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"connect-proxy/listener/listenertest"
)

// published is the JSON of an event, as an HTTP broker of Go Micro sends it.
func published(t *testing.T, header map[string]string) string {
	t.Helper()
	b, err := json.Marshal(frame{header, nil})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestNoHeaderMakesACallOfAnEvent(t *testing.T) {
	m := &mesh{topics: map[string][]string{"billing": {"orders"}}}
	d := start(t, m)
	header := map[string]string{
		"Micro-Topic": "orders", "Team": "a",
		// The sending side leaves out what Connection names.
		"Connection": "Micro-Topic", "content-length": "3", "Transfer-Encoding": "chunked", "Host": "till",
		"X-Micro-Service": "billing", "x-micro-endpoint": "Billing.Pay", "X-Micro-Method": "Billing.Pay", "X-Micro-Topic": "secret",
		"Micro-Service": "billing", "micro-endpoint": "Billing.Pay", "Micro-Stream": "1",
	}
	if status := d.post("/?id=x", published(t, header)); status != http.StatusOK {
		t.Fatal(status)
	}
	listenertest.Eventually(t, "the service has the event", func() bool { return m.sent("billing") == 1 })
	m.mu.Lock()
	defer m.mu.Unlock()
	if got := m.got["billing"][0]; !maps.Equal(got.Header, map[string]string{"Micro-Topic": "orders", "Team": "a"}) {
		t.Errorf("the service gets %v", got.Header)
	}
}

func TestAHeaderOfManyShortFieldsIsTooLong(t *testing.T) {
	d := start(t, &mesh{})
	many := map[string]string{"Micro-Topic": "orders"}
	for i := range 6000 { // 24 KiB of letters
		many[fmt.Sprintf("%04x", i)] = ""
	}
	if status := d.post("/?id=x", published(t, many)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("%d fields: %d", len(many), status)
	}
	for k := range many {
		if len(many) > 400 && k != "Micro-Topic" {
			delete(many, k)
		}
	}
	if status := d.post("/?id=x", published(t, many)); status != http.StatusOK {
		t.Errorf("%d fields: %d", len(many), status)
	}
}

func TestEventsThatComeSlowlyKeepNoOtherOut(t *testing.T) {
	d := start(t, &mesh{})
	for _, path := range []string{"/broker?topic=orders", "/?id=x", "/event"} {
		for range maxReading + 1 {
			c, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			_, _ = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: here\r\nMicro-Topic: orders\r\nContent-Length: 1000000\r\n\r\nabc", path)
		}
	}
	// The slow ones are read by now, or will be: there is nothing to wait for.
	for range 10 {
		if status := d.post("/broker?topic=orders", "x"); status != http.StatusOK {
			t.Errorf("published: %d", status)
		}
		if got := d.bring("x", "Micro-Topic: orders"); !IsNobody(got) {
			t.Errorf("brought: %s", got)
		}
		<-time.After(20 * time.Millisecond)
	}
	long := strings.Repeat("x", MaxBody)
	if status := d.post("/broker?topic=orders", long); status != http.StatusOK {
		t.Errorf("a long one: %d", status)
	}
	if status := d.post("/broker?topic=orders", long+"x"); status != http.StatusRequestEntityTooLarge {
		t.Errorf("one that is too long: %d", status)
	}
}
