package mtls

import (
	"crypto/tls"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestATicketWithoutTheMarkIsNotTaken(t *testing.T) {
	cfg := &tls.Config{}
	MarkTickets(cfg)
	ticket, err := cfg.WrapSession(tls.ConnectionState{}, &tls.SessionState{})
	if err != nil || !strings.HasPrefix(string(ticket), ticketMark) {
		t.Fatalf("wrapped as %q, %v", ticket, err)
	}
	for name, label := range map[string][]byte{
		"without the mark": ticket[len(ticketMark):], "empty": nil, "the mark alone": []byte(ticketMark),
		"altered": append(ticket[:len(ticket)-1:len(ticket)-1], ticket[len(ticket)-1]^1),
	} {
		if s, err := cfg.UnwrapSession(label, tls.ConnectionState{}); s != nil || err != nil {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
}
