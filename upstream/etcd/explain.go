package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// explain says in one line, without gRPC's frills, what went wrong and who is to
// do something about it.
func (r *Resolver) explain(err error) error {
	asked := strings.Join(r.o.Endpoints, ", ")
	switch {
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return fmt.Errorf("etcd at %s does not take the password of user %s: %w", asked, r.o.Username, err)
	case r.o.Username == "" && (errors.Is(err, rpctypes.ErrUserEmpty) || errors.Is(err, rpctypes.ErrPermissionDenied)):
		return fmt.Errorf("etcd at %s asks for a user, and none is configured: %w", asked, err)
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return fmt.Errorf("etcd at %s does not let user %q read below %s: %w", asked, r.o.Username, r.o.Prefix, err)
	case errors.Is(err, rpctypes.ErrNoLeader):
		return fmt.Errorf("etcd at %s has no leader: %w", asked, err)
	case errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded:
		return fmt.Errorf("etcd at %s did not answer within %s: %w", asked, r.o.Timeout, plainError{err})
	}
	return fmt.Errorf("etcd at %s: %w", asked, plainError{err})
}

// maxShown bounds what is shown of an error, which may be a server's own words.
const maxShown = 300

// plainError shows of an error what its innermost description says, on one line.
type plainError struct{ error }

func (p plainError) Unwrap() error { return p.error }

func (p plainError) Error() string {
	text := p.error.Error()
	if i := strings.LastIndex(text, "desc = "); i >= 0 {
		text = strings.Trim(text[i+len("desc = "):], `"`)
	}
	text = strings.TrimPrefix(text, "transport: ")
	if len(text) > maxShown {
		text = text[:maxShown] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}
