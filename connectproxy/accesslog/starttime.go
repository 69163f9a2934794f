package accesslog

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// timeLayout is the argument of START_TIME: strftime's conversions, %s for
// seconds since 1970, and %f or %1f to %9f for the digits of its fraction.
type timeLayout []timePart

type timePart struct {
	literal string
	value   func(time.Time) string
}

// defaultTime is START_TIME's format where none is given.
const defaultTime = "%Y-%m-%dT%H:%M:%S.%3fZ"

// conversions are strftime's as layouts of package time.
var conversions = map[byte]string{
	'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'e': "_2", 'H': "15", 'I': "03",
	'M': "04", 'S': "05", 'p': "PM", 'Z': "MST", 'z': "-0700", 'a': "Mon", 'A': "Monday",
	'b': "Jan", 'B': "January", 'h': "Jan", 'j': "002", 'F': "2006-01-02", 'T': "15:04:05",
	'R': "15:04", 'D': "01/02/06", 'c': "Mon Jan _2 15:04:05 2006",
}

func newTimeLayout(s string) timeLayout {
	if s == "" {
		s = defaultTime
	}
	var l timeLayout
	for s != "" {
		before, rest, found := strings.Cut(s, "%")
		l = append(l, timePart{literal: before})
		if !found || rest == "" {
			break
		}
		var p timePart
		p, s = newTimePart(rest)
		l = append(l, p)
	}
	return l
}

// newTimePart reads what follows a sign; what is no conversion stays as it is.
func newTimePart(s string) (p timePart, after string) {
	c := s[0]
	switch {
	case c == '%':
		return timePart{literal: "%"}, s[1:]
	case c == 's':
		return timePart{value: func(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }}, s[1:]
	case c == 'f':
		return timePart{value: fraction(9)}, s[1:]
	case c >= '1' && c <= '9' && len(s) > 1 && s[1] == 'f':
		return timePart{value: fraction(int(c - '0'))}, s[2:]
	case conversions[c] != "":
		layout := conversions[c]
		return timePart{value: func(t time.Time) string { return t.Format(layout) }}, s[1:]
	}
	return timePart{literal: "%"}, s
}

func fraction(digits int) func(time.Time) string {
	return func(t time.Time) string { return fmt.Sprintf("%09d", t.Nanosecond())[:digits] }
}

func (l timeLayout) format(t time.Time) string {
	var b strings.Builder
	for _, p := range l {
		if p.value == nil {
			b.WriteString(p.literal)
			continue
		}
		b.WriteString(p.value(t))
	}
	return b.String()
}
