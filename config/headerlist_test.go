package config

import (
	"strings"
	"testing"
)

func TestAListOfHeadersHasThemInEverySpelling(t *testing.T) {
	for _, tc := range []struct {
		patterns []string
		name     string
		want     bool
	}{
		{nil, "X-User", false},
		{[]string{"X-User"}, "X-User", true},
		{[]string{"x-user"}, "X-USER", true},
		{[]string{"X-User"}, "X_User", true},
		{[]string{"X_User"}, "X-User", true},
		{[]string{"X.User"}, "x|user", true},
		{[]string{"X-User"}, "X-User-Id", false},
		{[]string{"X-User"}, "XUser", false},
		{[]string{"X-User*"}, "X-User", true},
		{[]string{"X_User-*"}, "X-User-Id", true},
		{[]string{"X-User-*"}, "X-User", false},
		{[]string{"Other", "*-Token"}, "X_Acme_Token", true},
	} {
		l, err := NewHeaderList(tc.patterns)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Has(PlainHeader(tc.name)); got != tc.want {
			t.Errorf("%q has %q: %t", tc.patterns, tc.name, got)
		}
	}
}

func TestWhatNoHeaderIsCalledIsNoPatternOfHeaders(t *testing.T) {
	for _, p := range []string{"", "*", "**", "X User", "X-User:", "X-User\n", "\u00dc", "(a)", strings.Repeat("x", maxHeaderName+1)} {
		if _, err := NewHeaderList([]string{"X-User", p}); err == nil {
			t.Errorf("%q is taken", p)
		}
	}
}
