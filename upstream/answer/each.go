package answer

import (
	"bufio"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// readAtOnce is how much of a body one system call may bring.
const readAtOnce = 64 << 10

// Each calls f for each element of the array that body is, with its JSON, which is
// valid but not checked for names that are there twice, and good for the time of
// the call. JSON's null has no element. It ends at the first error, f's or of what
// is no array; elements before a mistake have been given by then.
func Each(body io.Reader, f func(element []byte) error) error {
	d := jsontext.NewDecoder(bufio.NewReaderSize(body, readAtOnce), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	first, err := d.ReadToken()
	switch {
	case err != nil:
		return unexpected(err)
	case first.Kind() == 'n':
		return nil
	case first.Kind() != '[':
		return fmt.Errorf("an array was expected, and the answer begins with %q", first.Kind())
	}
	for d.PeekKind() != ']' {
		element, err := d.ReadValue()
		if err != nil {
			return unexpected(err)
		}
		if err := f(element); err != nil {
			return err
		}
	}
	_, err = d.ReadToken()
	return unexpected(err)
}

// unexpected is err, with another word for an answer that ends too early.
func unexpected(err error) error {
	if err == io.EOF { //nolint:errorlint // it is what the decoder returns, never wrapped
		return io.ErrUnexpectedEOF
	}
	return err
}
