package config

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// value is what a setting was given, in JSON's types: nil, bool, string,
// json.Number, []any or map[string]any.
type value struct {
	raw any
	// agent allows what only agents write: a duration as a number of
	// nanoseconds, a block as a list of one, and what a list of one has in it.
	agent bool
}

var (
	errText          = errors.New("not a text: put it in quotes")
	errNumber        = errors.New("not a whole number")
	errRange         = errors.New("out of range")
	errMillis        = errors.New("not a number of milliseconds, such as 5000")
	errDuration      = errors.New(`not a duration: give a number with its unit, such as "30s"`)
	errNegative      = errors.New("negative: give a duration of 0 or more")
	errNegativeCount = errors.New("negative: give a number of 0 or more")
	errNoneAllowed   = errors.New("0 is no limit here, though it allows nothing at all through Envoy: to allow nothing, remove the upstream")
	errMode          = errors.New(`not the permissions of a socket: give them in octal and quoted, such as "0600"`)
	errTLS           = errors.New(`not a TLS version: "TLSv1_2" or "TLSv1_3"`)
	errTexts         = errors.New(`not a list of texts, such as ["http/1.1"]`)
	errUsers         = errors.New(`not a list of users, such as [{ name = "shop", allow = ["db"] }]`)
	errYesNo         = errors.New("neither true nor false")
	errBlock         = errors.New("not a block of settings")
)

func (v value) text() (string, error) {
	s, ok := v.raw.(string)
	if !ok {
		return "", errText
	}
	return s, nil
}

// whole reads 5, 5.0, 5e3 and "5". Numbers that passed through an agent have
// been floats, and what a template wrote is often a string.
func (v value) whole() (int64, error) {
	var text string
	switch raw := v.raw.(type) {
	case json.Number:
		text = raw.String()
	case string:
		text = strings.TrimSpace(raw)
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	switch {
	case strings.ContainsAny(text, "xX_"), math.IsNaN(f), err == nil && math.IsInf(f, 0):
		return 0, errNumber // Go's own spellings of numbers are not JSON's
	case math.Abs(f) >= 1<<63:
		return 0, errRange
	case err != nil, f != math.Trunc(f):
		return 0, errNumber
	}
	return int64(f), nil
}

func (v value) count() (int, error) {
	n, err := v.whole()
	if err == nil && (n > math.MaxInt32 || n < math.MinInt32) {
		return 0, errRange
	}
	return int(n), err
}

func (v value) milliseconds() (time.Duration, error) {
	n, err := v.whole()
	switch {
	case errors.Is(err, errNumber):
		return 0, errMillis
	case err != nil:
		return 0, err
	case n < 0:
		return 0, errNegative
	case n > math.MaxInt64/int64(time.Millisecond):
		return 0, errRange
	}
	return time.Duration(n) * time.Millisecond, nil
}

func (v value) duration() (time.Duration, error) {
	var d time.Duration
	n, err := v.whole()
	if s, ok := v.raw.(string); ok {
		if d, err = time.ParseDuration(strings.TrimSpace(s)); err != nil && overlong.MatchString(s) {
			err = errRange
		}
	} else if d = time.Duration(n); d != 0 && !v.agent {
		return 0, errDuration
	}
	switch {
	case errors.Is(err, errRange):
		return 0, err
	case err != nil:
		return 0, errDuration
	case d < 0:
		return 0, errNegative
	}
	return d, nil
}

// overlong is a duration well written, and more than 292 years if it is refused.
var overlong = regexp.MustCompile(`^\s*[+-]?[0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h)\s*$`)

// brief is a duration without the zeros at its end.
func brief(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = strings.TrimSuffix(s, zero[1:])
		}
	}
	return s
}

func (v value) fileMode() (os.FileMode, error) {
	s, ok := v.raw.(string)
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
	if !ok || err != nil {
		return 0, errMode
	}
	return os.FileMode(n), nil
}

func (v value) tlsVersion() (uint16, error) {
	s, _ := v.raw.(string)
	if n, ok := v.raw.(json.Number); ok {
		s = n.String()
	}
	switch strings.ToLower(s) {
	case "tlsv1_2", "tls12", "1.2":
		return tls.VersionTLS12, nil
	case "tlsv1_3", "tls13", "1.3":
		return tls.VersionTLS13, nil
	case "tls_auto":
		return 0, nil
	}
	return 0, errTLS
}

func (v value) yesNo() (bool, error) {
	switch raw := v.raw.(type) {
	case bool:
		return raw, nil
	case string:
		if raw == "true" || raw == "false" {
			return raw == "true", nil
		}
	}
	return false, errYesNo
}

// list reads a list.
func (v value) list() ([]any, bool) {
	list, ok := v.raw.([]any)
	if !ok && v.agent {
		// Agents unwrap a list of one in proxy-defaults and in their own configuration,
		// since they take it for a block of HCL 1.
		return []any{v.raw}, true
	}
	return list, ok
}

func (v value) texts() ([]string, error) {
	list, ok := v.list()
	if !ok {
		return nil, errTexts
	}
	texts := make([]string, len(list))
	for i, item := range list {
		if texts[i], ok = item.(string); !ok {
			return nil, errTexts
		}
	}
	return texts, nil
}

func (v value) address() (Address, error) {
	s, err := v.text()
	if err != nil {
		return Address{}, err
	}
	return parseAddress(s)
}

// host reads an address without a port; brackets around IPv6 are let pass.
func (v value) host() (string, error) {
	s, err := v.text()
	if inner, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(inner, "]") {
		s = strings.TrimSuffix(inner, "]")
	}
	return s, err
}

func (v value) block() (map[string]any, error) {
	if list, ok := v.raw.([]any); ok && v.agent && len(list) == 1 {
		// What was a block of HCL 1 in an agent's own configuration.
		v.raw = list[0]
	}
	m, ok := v.raw.(map[string]any)
	if !ok {
		return nil, errBlock
	}
	return m, nil
}

// unset reports that nothing was said: agents write an empty text for that.
func (v value) unset() bool {
	return v.raw == nil || v.agent && v.raw == ""
}

// String is the offending text of a mistake. It does not look inside lists and
// blocks, where an agent may keep secrets.
func (v value) String() string {
	switch raw := v.raw.(type) {
	case string:
		return excerpt(strconv.Quote(raw))
	case json.Number:
		return excerpt(raw.String())
	case bool:
		return strconv.FormatBool(raw)
	case []any:
		return "a list"
	case map[string]any:
		return "a block"
	}
	return "nothing"
}

// excerptLength is how much of an offending text a mistake shows.
const excerptLength = 80

// inURL is a user with a password in a URL.
var inURL = regexp.MustCompile(`://[^\s"']*:[^\s"']*@`)

// excerpt makes one short printable line of a text, without passwords in URLs.
func excerpt(s string) string {
	s = inURL.ReplaceAllString(s, "://…@")
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\uFFFD' }), " ")
	if runes := []rune(s); len(runes) > excerptLength {
		s = string(runes[:excerptLength]) + "…"
	}
	return s
}
