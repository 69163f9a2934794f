package config

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
)

// wide is a text in UTF-16.
func wide(text string, order binary.AppendByteOrder, mark bool) []byte {
	var out []byte
	if mark {
		out = order.AppendUint16(out, 0xFEFF)
	}
	for _, u := range utf16.Encode([]rune(text)) {
		out = order.AppendUint16(out, u)
	}
	return out
}

func TestAFileIsReadAsPeopleSaveIt(t *testing.T) {
	for _, name := range []string{"smallest.hcl", "smallest.json", "full.hcl"} {
		dir := "valid/"
		if strings.HasSuffix(name, ".json") {
			dir = "json/"
		}
		src := read(t, inputs(t, dir+name)[0])
		crlf := bytes.ReplaceAll(src, []byte("\n"), []byte("\r\n"))
		want, err := Parse(name, src)
		if err != nil {
			t.Fatal(err)
		}
		for as, text := range map[string][]byte{
			"with a byte order mark": append([]byte("\xEF\xBB\xBF"), src...),
			"with CRLF":              crlf,
			"with both":              append([]byte("\xEF\xBB\xBF"), crlf...),
		} {
			for _, called := range []string{name, "proxy.conf"} {
				got, err := Parse(called, text)
				if err != nil {
					t.Errorf("%s %s: %v", called, as, err)
				} else if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s %s:\n%s", called, as, diff)
				}
			}
		}
		for as, text := range map[string][]byte{
			"little-endian":                wide(string(src), binary.LittleEndian, true),
			"big-endian":                   wide(string(src), binary.BigEndian, true),
			"little-endian without a mark": wide(string(src), binary.LittleEndian, false),
			"big-endian without a mark":    wide(string(src), binary.BigEndian, false),
			"four bytes a character":       append([]byte{0, 0, 0xFE, 0xFF}, 0, 0, 0, 's'),
		} {
			_, err := Parse(name, text)
			var invalid *Invalid
			if !errors.As(err, &invalid) || len(invalid.Mistakes) != 1 || invalid.Mistakes[0].String() != name+":1: the file is UTF-16: save it as UTF-8" {
				t.Errorf("%s %s: %v", name, as, err)
			}
		}
	}
}

func TestAMistakeInAFileWithAMarkAndCRLFHasItsLineAndText(t *testing.T) {
	text := "\xEF\xBB\xBFservice_name = \"web\"\r\nupstream {\r\n  destination_name = \"db\"\r\n  local_bind_port = 70000\r\n}\r\n"
	_, err := Parse("web.hcl", []byte(text))
	if err == nil || !strings.Contains(err.Error(), "web.hcl:4: upstreams[0].local_bind_port: 70000: not a port") {
		t.Errorf("got %v", err)
	}
	_, err = Parse("web.hcl", []byte(strings.Replace(text, "service_name", "service_nam", 1)))
	if err == nil || !strings.Contains(err.Error(), "web.hcl:1: service_nam: ") {
		t.Errorf("got %v", err)
	}
}
