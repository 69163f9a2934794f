package config

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	hcljson "github.com/hashicorp/hcl/v2/json"
)

// The parsers recurse, and a Go program that runs out of stack cannot be saved:
// what is no proxy's configuration must not reach them.
const (
	maxFile  = 256 << 10
	maxDepth = 100
)

// Parse reads a configuration file, HCL or JSON by the extension of its name
// and by its first character otherwise. The result has its defaults and is
// valid; an error is an *Invalid that names every mistake by file and line. It
// opens nothing: filename is for messages.
func Parse(filename string, src []byte) (*Config, error) {
	d := decoder{file: filename, settings: map[string]settingRange{}}
	cfg := Config{Mode: File}
	if body := d.parse(src); body != nil {
		d.config(body, &cfg)
		cfg = cfg.WithDefaults()
		d.validate(cfg)
	}
	if len(d.found) > 0 {
		return nil, &Invalid{Origin: filename, Mistakes: d.sorted()}
	}
	return &cfg, nil
}

// decoder turns one file into a Config and collects what is wrong with it.
type decoder struct {
	file  string
	src   []byte
	found []locatedMistake
	// settings are those that the file has, by field.
	settings map[string]settingRange
}

// settingRange is where a setting stands. A setting that did not decode is broken,
// and the text of a secret one is not shown.
type settingRange struct {
	rng            hcl.Range
	broken, secret bool
}

// locatedMistake is a mistake with its position, by which they are sorted.
type locatedMistake struct {
	Mistake
	at hcl.Pos
}

// parse returns nil where the text has no structure to look into: what a
// parser makes of the rest would only confuse.
func (d *decoder) parse(content []byte) hcl.Body {
	var err error
	if d.src, err = DecodeText(content); err != nil {
		d.addMistake("", hcl.Range{}, "", err.Error())
		return nil
	}
	if len(d.src) > maxFile {
		d.addMistake("", hcl.Range{}, "", fmt.Sprintf("larger than %d KiB: this is not a proxy's configuration", maxFile>>10))
		return nil
	}
	if line := tooDeep(d.src); line > 0 {
		d.addMistake("", hcl.Range{Start: hcl.Pos{Line: line}}, "", fmt.Sprintf("more than %d brackets open: this is not a proxy's configuration", maxDepth))
		return nil
	}
	var f *hcl.File
	var diags hcl.Diagnostics
	if d.isJSON() {
		f, diags = hcljson.Parse(d.src, d.file)
	} else {
		f, diags = hclsyntax.ParseConfig(d.src, d.file, hcl.InitialPos)
	}
	d.diagnose("", diags)
	if diags.HasErrors() || f == nil {
		return nil
	}
	if body, ok := f.Body.(*hclsyntax.Body); ok {
		d.dropLabels(body)
	}
	return f.Body
}

// dropLabels complains of upstream "db" {} itself: the HCL library would leave
// out the whole block, and the mistakes in it.
func (d *decoder) dropLabels(body *hclsyntax.Body) {
	for _, b := range body.Blocks {
		if len(b.Labels) > 0 && b.Type != identityBlock {
			d.addMistake("", b.LabelRanges[0], d.text(b.LabelRanges[0]), fmt.Sprintf("a label, which no %s block has: remove it", b.Type))
			b.Labels, b.LabelRanges = nil, nil
		}
		d.dropLabels(b.Body)
	}
}

func (d *decoder) isJSON() bool {
	switch strings.ToLower(filepath.Ext(d.file)) {
	case ".json":
		return true
	case ".hcl":
		return false
	}
	return bytes.HasPrefix(bytes.TrimSpace(d.src), []byte("{"))
}

func (d *decoder) config(body hcl.Body, cfg *Config) {
	blocks := decodeBody(d, body, cfg, fileKeys, "", "public_listener", "upstream", identityBlock)
	for _, b := range blocks {
		switch b.Type {
		case "public_listener":
			if cfg.Public != nil {
				d.addMistake("public_listener", b.DefRange, "", "given before: a proxy has one public listener")
				continue
			}
			cfg.Public = &Public{}
			d.settings["public_listener"] = settingRange{rng: b.DefRange}
			decodeBody(d, b.Body, cfg.Public, publicFileKeys, "public_listener.")
		case "upstream":
			field := upstreamField(len(cfg.Upstreams))
			var u Upstream
			d.settings[field] = settingRange{rng: b.DefRange}
			decodeBody(d, b.Body, &u, upstreamFileKeys, field+".")
			cfg.Upstreams = append(cfg.Upstreams, u)
		case identityBlock:
			i := Identity{Name: b.Labels[0]}
			field := identityBlock + "." + i.Name
			d.settings[field] = settingRange{rng: b.DefRange}
			decodeBody(d, b.Body, &i, identityKeys, field+".")
			cfg.Identities = append(cfg.Identities, i)
		}
	}
}

// decodeBody reads the settings of one body into t and returns its blocks of
// the types named.
func decodeBody[T any](d *decoder, body hcl.Body, t *T, table keys[T], field string, types ...string) hcl.Blocks {
	content, diags := body.Content(schema(table, types))
	d.diagnose(field, diags)
	if content == nil {
		return nil
	}
	// By their names: where two keys set one thing, the same one must win each time.
	for _, name := range slices.Sorted(maps.Keys(content.Attributes)) {
		d.attribute(field+name, content.Attributes[name], table[name].secret, func(v value) error { return table[name].set(t, v) })
	}
	var rest hcl.Blocks
	for _, b := range content.Blocks {
		s, ok := table[b.Type]
		if !ok {
			rest = append(rest, b)
			continue
		}
		nested := field + b.Type
		if before, twice := d.settings[nested]; twice {
			d.addMistake(nested, b.DefRange, "", fmt.Sprintf("given before, in line %d", before.rng.Start.Line))
			continue
		}
		d.settings[nested] = settingRange{rng: b.DefRange}
		if s.begin != nil {
			s.begin(t)
		}
		decodeBody(d, b.Body, t, s.block, nested+".")
	}
	return rest
}

func schema[T any](table keys[T], types []string) *hcl.BodySchema {
	s := &hcl.BodySchema{}
	for name, setting := range table {
		if setting.block != nil {
			types = append(types, name)
			continue
		}
		s.Attributes = append(s.Attributes, hcl.AttributeSchema{Name: name})
	}
	for _, name := range types {
		header := hcl.BlockHeaderSchema{Type: name}
		if name == identityBlock {
			header.LabelNames = []string{"name"}
		}
		s.Blocks = append(s.Blocks, header)
	}
	return s
}

func (d *decoder) attribute(field string, attr *hcl.Attribute, secret bool, set func(value) error) {
	rng := attr.Expr.Range()
	d.settings[field] = settingRange{rng: rng, secret: secret}
	val, diags := attr.Expr.Value(nil)
	if diags.HasErrors() {
		d.settings[field] = settingRange{rng: rng, broken: true}
		d.diagnose(field, diags)
		return
	}
	v := value{raw: plain(val)}
	if v.unset() {
		return
	}
	if err := set(v); err != nil {
		d.settings[field] = settingRange{rng: rng, broken: true}
		text := d.text(rng)
		if secret {
			text = ""
		}
		d.addMistake(field, rng, text, err.Error())
	}
}

// validate adds the mistakes of Validate, each where its setting stands or, if
// it is missing, where its block begins. A setting that did not even decode has
// been complained of already.
func (d *decoder) validate(cfg Config) {
	for _, m := range cfg.Validate() {
		at, exact := d.settings[m.Field]
		if exact && at.broken {
			continue
		}
		switch {
		case exact && at.secret:
			m.Value = ""
		case exact:
			m.Value = d.text(at.rng)
		}
		for parent := m.Field; !exact && parent != ""; at, exact = d.settings[parent] {
			i := strings.LastIndex(parent, ".")
			parent = parent[:max(i, 0)]
		}
		d.found = append(d.found, locatedMistake{d.positioned(m, at.rng), at.rng.Start})
	}
}

func (d *decoder) addMistake(field string, rng hcl.Range, text, problem string) {
	m := Mistake{Field: field, Value: text, Problem: problem}
	d.found = append(d.found, locatedMistake{d.positioned(m, rng), rng.Start})
}

func (d *decoder) positioned(m Mistake, rng hcl.Range) Mistake {
	m.Pos = fmt.Sprintf("%s:%d", d.file, max(rng.Start.Line, 1))
	return m
}

// diagnose takes over what the HCL library found.
func (d *decoder) diagnose(field string, diags hcl.Diagnostics) {
	for _, diag := range diags {
		if diag.Severity != hcl.DiagError {
			continue
		}
		var rng hcl.Range
		if diag.Subject != nil {
			rng = *diag.Subject
		}
		problem := strings.Join(strings.Fields(cmp.Or(diag.Detail, diag.Summary)), " ")
		d.addMistake(strings.TrimSuffix(field, "."), rng, d.text(rng), strings.TrimSuffix(problem, "."))
	}
}

// text is the part of the file that a range spans, on one line; the whole line
// where that part is blank, as where something is missing at its end.
func (d *decoder) text(rng hcl.Range) string {
	if !rng.CanSliceBytes(d.src) {
		return ""
	}
	if s := excerpt(string(rng.SliceBytes(d.src))); s != "" {
		return s
	}
	start := bytes.LastIndexByte(d.src[:rng.Start.Byte], '\n') + 1
	line, _, _ := bytes.Cut(d.src[start:], []byte("\n"))
	return excerpt(string(line))
}

func (d *decoder) sorted() []Mistake {
	slices.SortStableFunc(d.found, func(a, b locatedMistake) int {
		return cmp.Or(cmp.Compare(a.at.Byte, b.at.Byte), cmp.Compare(a.Field, b.Field))
	})
	mistakes := make([]Mistake, len(d.found))
	for i, f := range d.found {
		mistakes[i] = f.Mistake
	}
	return slices.Compact(mistakes)
}
