package static

import (
	"cmp"

	"connect-proxy/connectproxy/identity"
)

// Status returns a snapshot. SpiffeID is the text of the certificate's names as
// allowlist.TextOf has it, and Roots are the names of the CAs.
func (i *Identity) Status() identity.Status {
	s := identity.Status{Problem: i.Problem(), SpiffeID: i.name()}
	files, g := i.files.Load(), i.current.Load()
	if files == nil {
		return s
	}
	s.Generation = g.number
	s.LeafSerial = serial(g.files.Certificate.Leaf)
	s.LeafNotBefore, s.LeafNotAfter = g.files.NotBefore, g.files.NotAfter
	for _, ca := range g.files.CAs {
		s.Roots = append(s.Roots, cmp.Or(ca.Subject.CommonName, ca.Subject.String()))
		s.RootsNotAfter = append(s.RootsNotAfter, ca.NotAfter)
	}
	if refused := files.Refused(); refused != "" {
		s.Warnings = append(s.Warnings, "newer certificate files cannot be used, and the last good ones stay in force: "+refused)
	}
	s.Warnings = append(s.Warnings, files.Warnings()...)
	return s
}

// name is who the proxy proves to be; empty before the files could be read.
func (i *Identity) name() string {
	if g := i.current.Load(); g != nil {
		return describe(g.files.Certificate.Leaf)
	}
	return ""
}
