package micro

import (
	"fmt"
	"strings"
	"testing"

	"connect-proxy/connectproxy/micro/broker"
)

// swollen are tags of a few digits that unfold to much.
func swollen(kind string, count int) (tags []string) {
	for i := range count {
		tags = append(tags, fold(kind, fmt.Sprintf(`{"n%d":"","metadata":{"subscriber":"true","topic":"t%d"},"x":"%s"}`, i, i, strings.Repeat("x", maxTag-1000))))
	}
	return tags
}

func TestTagsUnfoldToABoundedSize(t *testing.T) {
	one := Instance{ID: "one", Tags: append(swollen("e", 40), fold("v", "1"))}
	for _, s := range versions("db", []Instance{one, {ID: "two", Tags: []string{fold("v", "2")}}}) {
		size := 0
		for _, e := range s.Endpoints {
			size += len(e)
		}
		if size > maxTags || s.Nodes[0].ID == "one" && size < maxTags/2 {
			t.Errorf("%s unfolds to %d bytes", s.Nodes[0].ID, size)
		}
		if s.Nodes[0].ID == "two" && s.Version != "2" {
			t.Errorf("another instance has the version %q", s.Version)
		}
	}
	var many []Instance
	for i := range 2 * maxUnfolded / maxTags {
		many = append(many, Instance{ID: fmt.Sprint(i), Tags: append([]string{fold("v", fmt.Sprint(i))}, one.Tags[:8]...)})
	}
	size := 0
	for _, s := range versions("db", many) {
		for _, e := range s.Endpoints {
			size += len(e)
		}
	}
	if size > maxUnfolded {
		t.Errorf("all together unfold to %d bytes", size)
	}
}

func TestAServiceSubscribesToABoundedNumberOfTopics(t *testing.T) {
	if got := TopicsOf(swollen("e", 40)); len(got) == 0 || len(got) > maxEndpoints/(maxTag-1000) {
		t.Errorf("%d topics of swollen tags", len(got))
	}
	var tags []string
	for i := range maxTopics + 1 {
		tags = append(tags, fmt.Sprint(broker.TagPrefix, i))
	}
	if got := TopicsOf(append(tags[:1], tags...)); len(got) != maxTopics {
		t.Errorf("%d topics", len(got))
	}
	if got := TopicsOf([]string{broker.TagPrefix + strings.Repeat("x", broker.MaxName+1), tags[0], tags[0]}); len(got) != 1 {
		t.Errorf("topics that are none: %.80q", got)
	}
}
