package config

import (
	"maps"
	"slices"
	"strings"
	"unicode"
)

// object is a part of an answer whose keys are not Consul's own choice, or are
// spelt differently by its versions.
type object map[string]any

// apply reads the settings of an agent's object that the table knows. A time or
// a count that makes no sense is warned of and left at its default: it may come
// from central configuration, and must not stop every proxy there is.
func apply[T any](r *registration, t *T, table keys[T], field string, given object) {
	folded := fold(given)
	for _, name := range slices.Sorted(maps.Keys(folded)) {
		s, known := table[name]
		v := value{raw: folded[name], agent: true}
		if !known || v.unset() {
			continue
		}
		if s.block != nil {
			nested, err := v.block()
			if err != nil {
				r.addMistake(field+name, v.String(), err.Error())
				continue
			}
			if s.begin != nil {
				s.begin(t)
			}
			apply(r, t, s.block, field+name+".", nested)
			continue
		}
		switch err := s.set(t, v); {
		case err == nil:
		case s.tunable:
			r.warn("%s: %s: %s; the default is used (it comes from %s)", field+name, v, err, r.origin(name, given))
		default:
			r.addMistake(field+name, v.String(), err.Error())
		}
	}
}

// origin says where the setting called name in o comes from, as far as one can
// tell: what agents merge into a nested block themselves is in CamelCase.
func (r *registration) origin(name string, o object) string {
	if _, own := o[name]; !own && r.central != "" {
		return r.central
	}
	return r.origins
}

// fold brings the keys of an object to snake_case. Where two spellings of one
// key meet, the one in snake_case wins: the other was merged in by the agent
// from central configuration.
func fold(o object) object {
	folded := make(object, len(o))
	for _, key := range slices.Sorted(maps.Keys(o)) { // capitals come first
		folded[snake(key)] = o[key]
	}
	return folded
}

// snake turns ConnectTimeoutMs into connect_timeout_ms, and
// EnforcingConsecutive5xx into enforcing_consecutive_5xx.
func snake(key string) string {
	runes := []rune(key)
	camel := len(runes) > 0 && unicode.IsUpper(runes[0])
	var b strings.Builder
	for i, c := range runes {
		if unicode.IsUpper(c) && i > 0 && runes[i-1] != '_' {
			endsAcronym := i+1 < len(runes) && unicode.IsLower(runes[i+1])
			if !unicode.IsUpper(runes[i-1]) || endsAcronym {
				b.WriteByte('_')
			}
		}
		if camel && unicode.IsDigit(c) && i > 0 && unicode.IsLower(runes[i-1]) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}
