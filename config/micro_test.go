package config

import (
	"strings"
	"testing"
)

func TestEventsAreReceivedInPlaceOfALocalAddress(t *testing.T) {
	micro := &Micro{Bind: Address{Port: 8081}, Allow: []string{}, Topics: []string{"orders"}, ReceiveEvents: true}
	c := Config{Service: "billing", Public: &Public{Bind: Address{Host: "0.0.0.0", Port: 8443}}, Micro: micro}
	got := c.WithDefaults()
	if m := got.Validate(); len(m) > 0 || !got.Public.MicroEvents || got.Public.Local != (Address{}) {
		t.Errorf("%v: %+v", m, got.Public)
	}
	if again := got.WithDefaults(); again.Public.Local != (Address{}) {
		t.Errorf("with defaults twice: %+v", again.Public.Local)
	}
	if c.Public.MicroEvents {
		t.Error("the configuration itself was changed")
	}
	c.Micro = &Micro{Bind: micro.Bind, Allow: micro.Allow, Topics: micro.Topics}
	if m := c.WithDefaults().Validate(); len(m) == 0 || !strings.Contains(m[0].String(), localField) {
		t.Errorf("without events there is no local address: %v", m)
	}
}

func TestWhatReceivesNoEventIsNotToldToReceiveThem(t *testing.T) {
	for want, c := range map[string]Config{
		"micro.receive_events": {Micro: &Micro{Bind: Address{Port: 8081}, Allow: []string{}, Topics: []string{"orders"}, ReceiveEvents: true}},
		"no topic is allowed":  {Public: &Public{Bind: Address{Port: 8443}}, Micro: &Micro{Bind: Address{Port: 8081}, Allow: []string{}, ReceiveEvents: true}},
		"micro.topics":         {Micro: &Micro{Bind: Address{Port: 8081}, Allow: []string{}, Topics: []string{"a b"}}},
	} {
		c.Service = "billing"
		m := c.WithDefaults().Validate()
		if len(m) != 1 || !strings.Contains(m[0].String(), want) {
			t.Errorf("%v, want a mistake with %q", m, want)
		}
	}
}
