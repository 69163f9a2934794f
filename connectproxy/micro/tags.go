package micro

import (
	"bytes"
	"compress/zlib"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
)

const (
	// maxTag bounds what a tag may unfold to, in bytes, and maxTags what those of one
	// instance may together.
	maxTag  = 64 << 10
	maxTags = 512 << 10
	// maxUnfolded bounds what all tags of a service may unfold to, in bytes. A few
	// digits, which whoever may register any service writes, can be much.
	maxUnfolded = 16 << 20
)

// unfolding is how much tags may still unfold to, in bytes.
type unfolding struct{ left int }

// unfold reads what Micro's registry of Consul has put into tags: a letter, a dash,
// and what they hold as hexadecimal digits of zlib's form. What is too much, for
// the instance or for all, is left out.
func unfold(in Instance, all *unfolding) (version string, metadata map[string]string, endpoints []json.RawMessage) {
	u := &unfolding{min(maxTags, all.left)}
	all.left -= u.left
	defer func() { all.left += u.left }()
	metadata = make(map[string]string, len(in.Meta))
	for k, v := range in.Meta {
		metadata[k] = v
	}
	for _, tag := range in.Tags {
		kind, folded, _ := strings.Cut(tag, "-")
		text, ok := u.inflate(folded)
		if !ok {
			continue
		}
		switch kind {
		case "v":
			version = string(text)
		case "e":
			if json.Valid(text) {
				endpoints = append(endpoints, text)
			}
		case "t":
			_ = json.Unmarshal(text, &metadata) // a tag of somebody else's
		}
	}
	return version, metadata, endpoints
}

// fold is what unfold reads, in tags of one kind.
func fold(kind, text string) string {
	var folded bytes.Buffer
	z := zlib.NewWriter(&folded)
	_, _ = io.WriteString(z, text) // to memory
	_ = z.Close()
	return kind + "-" + hex.EncodeToString(folded.Bytes())
}

// foldInstance are the tags of an instance, the same for the same.
func foldInstance(version string, metadata map[string]string, endpoints []json.RawMessage) (tags []string) {
	for _, k := range slices.Sorted(maps.Keys(metadata)) {
		b, _ := json.Marshal(map[string]string{k: metadata[k]})
		tags = append(tags, fold("t", string(b)))
	}
	for _, e := range endpoints {
		tags = append(tags, fold("e", string(e)))
	}
	return append(tags, fold("v", version))
}

func (u *unfolding) inflate(digits string) ([]byte, bool) {
	folded, err := hex.DecodeString(digits)
	if err != nil || len(folded) == 0 {
		return nil, false
	}
	z, err := zlib.NewReader(bytes.NewReader(folded))
	if err != nil {
		return nil, false
	}
	most := min(maxTag, u.left)
	text, err := io.ReadAll(io.LimitReader(z, int64(most)+1))
	u.left -= min(len(text), most) // also where it is of no use: it was work
	return text, err == nil && len(text) <= most
}
