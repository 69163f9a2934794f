package traffic

import (
	"net/http"
	"time"
)

// Fault is what becomes of a request instead of its answer. The zero value
// leaves it alone.
type Fault struct {
	// Delay passes before anything else.
	Delay time.Duration
	// Hang holds the request without an answer until the next Heal, which lets
	// it go on.
	Hang bool
	// Cut closes the connection without an answer.
	Cut bool
	// Status is answered, with Body; zero with a Body is 200.
	Status int
	// Body is answered as it is, as JSON that it may not be.
	Body string
	// Left is how many requests the fault is for; zero is all of them.
	Left int
}

// Garbage is an answer that nobody can read.
func Garbage() Fault { return Fault{Body: "<html>\x00not what you {asked"} }

// strike makes the fault happen. It reports whether the request is done with.
func (f Fault) strike(w http.ResponseWriter, r *http.Request, healed <-chan struct{}) bool {
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return true
		}
	}
	switch {
	case f.Hang:
		select {
		case <-healed:
			return false
		case <-r.Context().Done():
			return true
		}
	case f.Cut:
		panic(http.ErrAbortHandler)
	case f.Status == 0 && f.Body == "":
		return false
	}
	w.Header().Set("Content-Type", "application/json")
	if f.Status != 0 {
		w.WriteHeader(f.Status)
	}
	_, _ = w.Write([]byte(f.Body))
	return true
}
