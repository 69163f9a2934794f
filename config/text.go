package config

import (
	"bytes"
	"errors"
)

// ErrUTF16 is a text file in an encoding of two or four bytes a character.
var ErrUTF16 = errors.New("the file is UTF-16: save it as UTF-8")

var utf8Mark = []byte("\xEF\xBB\xBF")

// DecodeText is the content of a text file without the byte order mark that
// some editors put before UTF-8. The error is ErrUTF16. The result shares its
// memory with content.
func DecodeText(content []byte) ([]byte, error) {
	if content, marked := bytes.CutPrefix(content, utf8Mark); marked {
		return content, nil
	}
	for _, mark := range []string{"\xFF\xFE", "\xFE\xFF"} {
		if bytes.HasPrefix(content, []byte(mark)) {
			return nil, ErrUTF16
		}
	}
	// Without a mark: what begins a configuration or a token is ASCII, half of
	// which is zeros then.
	if len(content) >= 2 && (content[0] == 0) != (content[1] == 0) || bytes.HasPrefix(content, []byte{0, 0}) {
		return nil, ErrUTF16
	}
	return content, nil
}

// tooDeep gives the line in which too many brackets are open, or 0.
func tooDeep(src []byte) int {
	depth, line := 0, 1
	for _, b := range src {
		switch b {
		case '[', '{', '(':
			depth++
		case ']', '}', ')':
			depth = max(depth-1, 0)
		case '\n':
			line++
		}
		if depth > maxDepth {
			return line
		}
	}
	return 0
}
