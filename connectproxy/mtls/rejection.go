package mtls

import "strings"

// maxRejection bounds what is said of a peer's certificates, in bytes.
const maxRejection = 1 << 10

// rejection is why the certificates of a peer were rejected.
type rejection struct {
	text string
	is   error // nil for what nobody has to tell apart
}

// Rejection returns an error that says what err does, cut where that is long, and that
// wraps is alone, which may be nil. crypto/x509's own errors refer to the certificates
// that they are about: whoever presented those decides how large they are, and an
// error may be kept for long.
func Rejection(err, is error) error {
	text := err.Error()
	if len(text) > maxRejection {
		text = strings.ToValidUTF8(text[:maxRejection], "") + "..."
	}
	return &rejection{text, is}
}

// Error returns the text.
func (r *rejection) Error() string { return r.text }

// Unwrap returns what Rejection was given as is.
func (r *rejection) Unwrap() error { return r.is }
