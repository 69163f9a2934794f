package adminapi

import "strings"

// InWords returns what the mesh says of TLS as one line for a person.
func (m MeshTLS) InWords() string {
	if !m.Known {
		return "What the mesh configuration entry says of TLS is not known, and the proxy's own settings hold: " + m.Error
	}
	var parts []string
	for _, b := range []struct{ direction, bounds string }{{"incoming", m.Incoming}, {"outgoing", m.Outgoing}} {
		if b.bounds != "" {
			parts = append(parts, b.direction+" "+b.bounds)
		}
	}
	if len(parts) == 0 {
		return "The mesh configuration entry says nothing of TLS."
	}
	text := "TLS by the mesh configuration entry: " + strings.Join(parts, "; ")
	if len(m.Problems) > 0 {
		text += ". Not to be done: " + strings.Join(m.Problems, "; ")
	}
	return text
}
