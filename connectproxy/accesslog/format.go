package accesslog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"connect-proxy/config"
)

// format writes records of one form.
type format interface {
	// write appends the record of e, with the newline at its end.
	write(b *bytes.Buffer, e *logEntry)
	// missing is what stands in the place of n records that were dropped.
	missing(n uint64) []byte
}

// maxFormat bounds the text of a format, and with it a record, in bytes.
const maxFormat = 16 << 10

// newFormat compiles what c says of the form of records. warnings name the
// operators that have no value here.
func newFormat(c config.AccessLog, inJSON bool) (f format, warnings []string, err error) {
	if n := max(len(c.TextFormat), len(c.JSONFormat)); n > maxFormat {
		return nil, nil, fmt.Errorf("the format of the access log has %d bytes, which is longer than %d", n, maxFormat)
	}
	var t *template
	switch {
	case c.TextFormat != "":
		t, err = compileText(c.TextFormat)
		f = textTemplate{t}
	case c.JSONFormat != "":
		t, err = compileJSON(c.JSONFormat)
		f = jsonTemplate{t}
	case c.Enabled:
		t, err = compileJSON(envoyRecord)
		if err == nil {
			t.trim()
		}
		return jsonFormat{envoy: t}, nil, err
	case inJSON:
		return jsonFormat{}, nil, nil
	default:
		return textFormat{}, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, name := range t.unknown {
		warnings = append(warnings, fmt.Sprintf("access_logs: the operator %%%s%% has no value for TCP connections of this proxy: - stands in its place", name))
	}
	return f, warnings, nil
}

// template is a compiled format: texts, and operators between them.
type template struct {
	parts   []part
	unknown []string
}

type part struct {
	literal string
	// value is an operator's, "" if it has none; nil for a literal.
	value func(*logEntry) string
	most  int // bytes of the value; zero means no limit but maxValue
	// escape writes a value so that it stays within its place.
	escape func(*bytes.Buffer, string)
}

func (t *template) append(b *bytes.Buffer, e *logEntry) {
	for _, p := range t.parts {
		if p.value == nil {
			b.WriteString(p.literal)
			continue
		}
		v := bounded(p.value(e))
		if v == "" {
			v = "-"
		}
		if p.most > 0 && len(v) > p.most {
			v = v[:p.most]
		}
		p.escape(b, v)
	}
}

// trim takes the braces off an object.
func (t *template) trim() {
	first, last := &t.parts[0], &t.parts[len(t.parts)-1]
	first.literal = strings.TrimPrefix(first.literal, "{")
	last.literal = strings.TrimSuffix(last.literal, "}")
}

// textTemplate is Consul's TextFormat.
type textTemplate struct{ *template }

var _ format = textTemplate{}

func (t textTemplate) write(b *bytes.Buffer, e *logEntry) {
	t.append(b, e)
	if !bytes.HasSuffix(b.Bytes(), []byte("\n")) {
		b.WriteByte('\n')
	}
}

// missing is nothing: no line but a record would be understood.
func (textTemplate) missing(uint64) []byte { return nil }

// jsonTemplate is Consul's JSONFormat.
type jsonTemplate struct{ *template }

var _ format = jsonTemplate{}

func (t jsonTemplate) write(b *bytes.Buffer, e *logEntry) {
	t.append(b, e)
	b.WriteByte('\n')
}

func (jsonTemplate) missing(n uint64) []byte { return missingJSON(n) }

func compileText(s string) (*template, error) {
	t := &template{}
	return t, t.compile(s, func(b *bytes.Buffer, s string) { b.WriteString(s) }, escapeText)
}

// compileJSON compiles a JSON object whose strings are formats.
func compileJSON(s string) (*template, error) {
	t := &template{}
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	first, err := d.Token()
	if err != nil || first != json.Delim('{') {
		return nil, fmt.Errorf("the JSON format of the access log is not an object: %s", bounded(s))
	}
	err = t.compileObject(d)
	if _, more := d.Token(); err == nil && more != io.EOF {
		err = fmt.Errorf("the JSON format of the access log goes on after its object: %s", bounded(s))
	}
	return t, err
}

// compileObject compiles the members of an object whose brace is read.
func (t *template) compileObject(d *json.Decoder) error {
	t.literal("{")
	for n := 0; d.More(); n++ {
		if n > 0 {
			t.literal(",")
		}
		key, err := d.Token()
		if err != nil {
			return err
		}
		t.literalJSON(key)
		t.literal(":")
		if err := t.compileValue(d); err != nil {
			return err
		}
	}
	t.literal("}")
	_, err := d.Token()
	return err
}

func (t *template) compileValue(d *json.Decoder) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	switch v := token.(type) {
	case json.Delim:
		if v == '{' {
			return t.compileObject(d)
		}
		t.literal("[")
		for n := 0; d.More(); n++ {
			if n > 0 {
				t.literal(",")
			}
			if err := t.compileValue(d); err != nil {
				return err
			}
		}
		t.literal("]")
		_, err := d.Token()
		return err
	case string:
		t.literal(`"`)
		err := t.compile(v, escapeJSON, escapeJSON)
		t.literal(`"`)
		return err
	}
	t.literalJSON(token)
	return nil
}

// literalJSON adds a key, a number, a bool or null.
func (t *template) literalJSON(v any) {
	encoded, _ := json.Marshal(v)
	t.literal(string(encoded))
}

func (t *template) literal(s string) {
	if n := len(t.parts); n > 0 && t.parts[n-1].value == nil {
		t.parts[n-1].literal += s
		return
	}
	t.parts = append(t.parts, part{literal: s})
}

// compile adds a format: texts with operators, %NAME%, %NAME(ARGUMENT)% or either
// with :LENGTH before the last sign, and %% for a sign itself.
func (t *template) compile(s string, literal, escape func(*bytes.Buffer, string)) error {
	for s != "" {
		before, rest, found := strings.Cut(s, "%")
		var b bytes.Buffer
		literal(&b, before)
		t.literal(b.String())
		if !found {
			return nil
		}
		if strings.HasPrefix(rest, "%") {
			t.literal("%")
			s = rest[1:]
			continue
		}
		p, after, err := t.operator(rest)
		if err != nil {
			return err
		}
		p.escape = escape
		t.parts = append(t.parts, p)
		s = after
	}
	return nil
}

// operator reads what follows a sign, and returns what is after the next one.
func (t *template) operator(s string) (p part, after string, err error) {
	end := strings.IndexAny(s, "(:%")
	if end <= 0 {
		return p, "", fmt.Errorf("the format of the access log has a %% that begins no operator, before %q: write %%%% for the sign itself", bounded(s))
	}
	name, argument, rest := s[:end], "", s[end:]
	if strings.HasPrefix(rest, "(") {
		// An argument may have signs in it, as START_TIME's does.
		argument, rest, _ = strings.Cut(rest[1:], ")")
	}
	if strings.HasPrefix(rest, ":") {
		var length string
		length, rest, _ = strings.Cut(rest[1:], "%")
		rest = "%" + rest
		if p.most, err = strconv.Atoi(length); err != nil || p.most < 0 {
			return p, "", fmt.Errorf("the length of the operator %%%s%% of the access log is not a number: %q", name, bounded(length))
		}
	}
	if !strings.HasPrefix(rest, "%") {
		return p, "", fmt.Errorf("the operator %%%s of the access log does not end with a %%", bounded(name))
	}
	var ok bool
	if p.value, ok = newOperator(name, argument); !ok {
		p.value = func(*logEntry) string { return "" }
		t.unknown = append(t.unknown, name)
	}
	return p, rest[1:], nil
}

// escapeText writes s without what could end a line or a quotation.
func escapeText(b *bytes.Buffer, s string) {
	quoted := strconv.QuoteToGraphic(s)
	b.WriteString(quoted[1 : len(quoted)-1])
}

// escapeJSON writes s as the inside of a JSON string.
func escapeJSON(b *bytes.Buffer, s string) {
	encoded, _ := json.Marshal(s)
	b.Write(encoded[1 : len(encoded)-1])
}
