package watch

import "time"

// Freshness is a Status as it is shown in JSON. Fields are only ever added.
type Freshness struct {
	// Name is what is watched.
	Name string `json:"name"`
	// Has reports whether there is a value.
	Has bool `json:"has"`
	// AgeSeconds is the time since the agent last confirmed it; zero without one.
	AgeSeconds float64 `json:"age_seconds"`
	// Error is the last request's; empty when it went well.
	Error string `json:"error,omitempty"`
	// Failures counts the requests that failed since the last good one.
	Failures int `json:"failures,omitempty"`
}

// Freshness returns s as it is at now.
func (s Status) Freshness(now time.Time) Freshness {
	out := Freshness{Name: s.Name, Has: s.Has, Failures: s.Failures}
	if !s.Fresh.IsZero() {
		out.AgeSeconds = Seconds(now.Sub(s.Fresh))
	}
	if s.Err != nil {
		out.Error = s.Err.Error()
	}
	return out
}

// Seconds returns d in seconds, rounded to what a person reads.
func Seconds(d time.Duration) float64 {
	return d.Round(time.Millisecond).Seconds()
}
