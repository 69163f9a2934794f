package config

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestTheReadmeListsEveryKeyOfAFile(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Keys\n")
	section, _, _ = strings.Cut(section, "\n## ")
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(section, -1) {
		listed[m[1]] = true
	}
	var accepted []string
	accepted = append(accepted, namesOf("", fileKeys)...)
	accepted = append(accepted, namesOf("public_listener.", publicFileKeys)...)
	accepted = append(accepted, namesOf("upstream.", upstreamFileKeys)...)
	accepted = append(accepted, namesOf("identity.", identityKeys)...)
	for _, key := range accepted {
		if !listed[key] {
			t.Errorf("%s is accepted and not in README.md", key)
		}
		delete(listed, key)
	}
	for key := range listed {
		t.Errorf("README.md lists %s, which is not accepted", key)
	}
}

// namesOf are the full names of a table's settings, those of nested blocks
// included.
func namesOf[T any](prefix string, table keys[T]) []string {
	var names []string
	for name, s := range table {
		if s.block != nil {
			names = append(names, namesOf(prefix+name+".", s.block)...)
			continue
		}
		names = append(names, prefix+name)
	}
	return names
}
