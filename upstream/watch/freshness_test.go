package watch

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAWatchsAgeIsTheTimeSinceTheAgentConfirmedIt(t *testing.T) {
	t.Parallel()
	now := time.Now()
	got := Status{
		Name: "roots", Has: true, Err: errors.New("connection refused"), Fresh: now.Add(-90 * time.Second), Failures: 3,
	}.Freshness(now)
	want := Freshness{Name: "roots", Has: true, AgeSeconds: 90, Error: "connection refused", Failures: 3}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got := (Status{Name: "leaf"}).Freshness(now); got != (Freshness{Name: "leaf"}) {
		t.Errorf("before the first answer: %+v", got)
	}
}
