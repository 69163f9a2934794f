package config

import (
	"errors"
	"fmt"
)

// maxTopic bounds the name of a topic, in bytes.
const maxTopic = 255

// TopicList is the topics of events that are allowed. It is immutable and safe for
// concurrent use; the zero value allows none.
type TopicList struct{ patterns []string }

// NewTopicList makes a TopicList of patterns: names of topics, in which capitals
// count, with * for any part. An error names a pattern that no topic can have.
func NewTopicList(patterns []string) (TopicList, error) {
	for _, p := range patterns {
		switch {
		case p == "":
			return TopicList{}, errors.New("an empty topic allows nothing: remove it")
		case len(p) > maxTopic:
			return TopicList{}, fmt.Errorf("%.80q: a topic has %d bytes at most", p, maxTopic)
		}
		for i := range len(p) {
			if p[i] <= ' ' || p[i] > '~' {
				return TopicList{}, fmt.Errorf("%.80q: a topic has letters, digits and signs, and no spaces", p)
			}
		}
	}
	return TopicList{append([]string(nil), patterns...)}, nil
}

// Allows reports whether there may be events of a topic.
func (l TopicList) Allows(topic string) bool {
	for _, p := range l.patterns {
		if matchesPattern(p, topic) {
			return true
		}
	}
	return false
}
