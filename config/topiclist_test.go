package config

import (
	"strings"
	"testing"
)

func TestAPatternOfTopicsAllowsWhatItSaysAndNothingElse(t *testing.T) {
	for _, tc := range []struct {
		patterns []string
		topic    string
		want     bool
	}{
		{nil, "orders", false},
		{[]string{"orders"}, "orders", true},
		{[]string{"orders"}, "Orders", false},
		{[]string{"orders"}, "orders.new", false},
		{[]string{"orders.*", "stock"}, "orders.new", true},
		{[]string{"orders.*", "stock"}, "stock", true},
		{[]string{"orders.*"}, "orders", false},
		{[]string{"*"}, "whatever/there:is", true},
		{[]string{"a*b*c"}, "a1b2c", true},
	} {
		l, err := NewTopicList(tc.patterns)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Allows(tc.topic); got != tc.want {
			t.Errorf("%q allows %q: %t", tc.patterns, tc.topic, got)
		}
	}
}

func TestWhatNoTopicIsCalledIsNoPattern(t *testing.T) {
	for _, p := range []string{"", "a b", "a\n", "\u00e4", strings.Repeat("x", maxTopic+1)} {
		if _, err := NewTopicList([]string{"orders", p}); err == nil {
			t.Errorf("%q is taken", p)
		}
	}
}
