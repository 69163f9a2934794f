package record

// Error is a peer's violation of the protocol, with the alert that it is
// answered with.
type Error struct {
	// Alert is the number of the alert, RFC 8446 6.
	Alert uint8
	text  string
}

// Error is the text.
func (e *Error) Error() string { return e.text }

// NewError returns an Error with the alert and a text in a person's words.
func NewError(alert uint8, text string) *Error { return &Error{alert, text} }

// The violations that a single record can be.
var (
	// ErrUnexpected is a record, or a message in it, that may not come here.
	ErrUnexpected = NewError(10, "an unexpected TLS record came")
	// ErrBadMAC is a record that does not open.
	ErrBadMAC = NewError(20, "a TLS record does not decrypt: it was altered or is out of order")
	// ErrOverflow is a record with more content than one may have.
	ErrOverflow = NewError(22, "a TLS record is longer than the protocol allows")
	// ErrDecode is a message that cannot be parsed.
	ErrDecode = NewError(50, "a TLS message cannot be parsed")
	// ErrVersion is a record of another version of the protocol.
	ErrVersion = NewError(70, "a TLS record of another version of the protocol came")
	// ErrParameter is a message with a value that is not allowed.
	ErrParameter = NewError(47, "a TLS message has a value that is not allowed")
	// ErrInternal is a message that is too long for us.
	ErrInternal = NewError(80, "a TLS message is longer than is taken here")
)
