package dynamic

import (
	"context"

	"connect-proxy/listener"
	"connect-proxy/listener/secure"
)

// counted has the end of t's connection counted among e's users.
func (u *Upstreams) counted(e *entry, t listener.Target) listener.Target {
	of := t
	release := func() { u.release(e) }
	t.Release = func() { defer release(); orNothing(of.Release) }
	t.Answered = func() { defer release(); orNothing(of.Answered) }
	if of.Failed != nil {
		t.Failed = func(err error) { defer release(); of.Failed(err) }
	}
	if of.Next != nil {
		t.Next = func(ctx context.Context, why secure.Refusal, err error) (listener.Target, error) {
			next, err := of.Next(ctx, why, err)
			if err != nil {
				release()
				return next, err
			}
			return u.counted(e, next), nil
		}
	}
	return t
}

func orNothing(f func()) {
	if f != nil {
		f()
	}
}
