package micro

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"

	"connect-proxy/listener"
)

// Codes of gRPC.
const (
	grpcCancelled         = 1
	grpcDeadlineExceeded  = 4
	grpcPermissionDenied  = 7
	grpcResourceExhausted = 8
	grpcUnimplemented     = 12
	grpcInternal          = 13
	grpcUnavailable       = 14
)

// statusClientGone is what there is no status of HTTP for: the other side has
// cancelled.
const statusClientGone = 499

// grpcCodes are gRPC's codes for the codes of failures. Every other is
// unavailable.
var grpcCodes = map[int]int{
	http.StatusBadRequest:          grpcUnimplemented,
	http.StatusForbidden:           grpcPermissionDenied,
	http.StatusTooManyRequests:     grpcResourceExhausted,
	statusClientGone:               grpcCancelled,
	http.StatusInternalServerError: grpcInternal,
	http.StatusGatewayTimeout:      grpcDeadlineExceeded,
}

// grpcStatus returns a failure as gRPC has it: a code, and a text that fits a
// header (gRPC over HTTP2, "Responses": percent-encoded). A client of Micro reads
// an error of Micro in the text, by whose code it repeats what is safe, and takes
// many a code of gRPC for an error of the service, which old ones repeat.
func grpcStatus(f *failure, request http.Header) http.Header {
	code, ok := grpcCodes[f.code]
	if !ok {
		code = grpcUnavailable
	}
	text := errorID + ": " + f.Error()
	if len(text) > maxDetail {
		text = text[:maxDetail]
	}
	if request.Get(headerMicroGRPC) != "" {
		text = f.encode()
	}
	var b strings.Builder
	for _, c := range []byte(strings.ToValidUTF8(text, "?")) {
		if c < ' ' || c > '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return http.Header{"Grpc-Status": {strconv.Itoa(code)}, "Grpc-Message": {b.String()}}
}

// headerMicroGRPC is in every call that a client of Micro makes by gRPC.
const headerMicroGRPC = "X-Content-Type"

// resets are the codes of failures for those with which a service ends a call
// that it does not answer (gRPC over HTTP2, "Errors").
var resets = map[http2.ErrCode]int{
	http2.ErrCodeRefusedStream:      http.StatusServiceUnavailable,
	http2.ErrCodeCancel:             statusClientGone,
	http2.ErrCodeEnhanceYourCalm:    http.StatusTooManyRequests,
	http2.ErrCodeInadequateSecurity: http.StatusForbidden,
}

// timeOver is the key of a context's value: when the time of a call is over that its
// client gives it.
type timeOver struct{}

// isTimeOver reports whether the time is over that the client gives its call.
func isTimeOver(ctx context.Context) bool {
	end, ok := ctx.Value(timeOver{}).(time.Time)
	return ok && !time.Now().Before(end)
}

// grpcFailure is why a call has no answer, or no whole one.
func grpcFailure(ctx context.Context, err error) *failure {
	var dialling *diallingError
	var reset http2.StreamError
	switch {
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return notAnswered(ctx, err)
	case errors.Is(err, errNotHTTP2):
		return badRequest(errNotHTTP2)
	case errors.As(err, &dialling):
		return notDialled(dialling.err)
	case errors.As(err, &reset) && reset.Code == http2.ErrCodeCancel && isTimeOver(ctx):
		// By the call's own time, which a service keeps as well: a client that has not
		// noticed yet would otherwise take the call for one that somebody gave up.
		return &failure{http.StatusGatewayTimeout, "timeout", errNoAnswerInTime}
	case errors.As(err, &reset):
		code, ok := resets[reset.Code]
		if !ok {
			code = http.StatusInternalServerError
		}
		return &failure{code, listener.ReasonUpstreamReset.String(), fmt.Errorf("the service has ended the call: %w", err)}
	}
	return notAnswered(ctx, err)
}

// explainEnd has an answer that breaks off end with a status, which a client
// would otherwise have to guess.
func explainEnd(r *http.Response) error {
	if r.StatusCode < 200 {
		return errStatus // net/http would panic, or switch protocols
	}
	r.Body = &grpcBody{r.Body, r}
	return nil
}

// grpcBody is the body of an answer.
type grpcBody struct {
	io.ReadCloser
	answer *http.Response
}

// Read is io.Reader's.
func (b *grpcBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	r := b.answer.Request
	b.answer.Trailer = grpcStatus(grpcFailure(r.Context(), err), r.Header)
	return n, io.EOF
}
