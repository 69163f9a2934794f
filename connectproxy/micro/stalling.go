package micro

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// stalling bounds how long nothing may move: each Read and Write has a timeout of
// its own. It has one side or the other.
type stalling struct {
	r     io.Reader
	w     io.Writer
	limit func(time.Time) error
	stall time.Duration
}

func (s *stalling) Read(p []byte) (int, error) {
	if err := s.limit(time.Now().Add(s.stall)); err != nil {
		return 0, err
	}
	n, err := s.r.Read(p)
	if errors.Is(err, io.EOF) {
		// The connection outlives the body, and is watched from its end on.
		_ = s.limit(time.Time{})
	}
	return n, err
}

func (s *stalling) Write(p []byte) (int, error) {
	if err := s.limit(time.Now().Add(s.stall)); err != nil {
		return 0, err
	}
	return s.w.Write(p)
}

// bodyOf is the body of a request that is read as a whole, with a bound in bytes.
func bodyOf(w http.ResponseWriter, r *http.Request, most int64) io.ReadCloser {
	return http.MaxBytesReader(w, holding(w, r.Body), most)
}
