package micro

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
)

// maxRequest bounds a request to /rpc, in bytes.
const maxRequest = 4 << 20

// onlyPOST answers requests by another method where a service would be called.
const onlyPOST = "method not allowed: services are called by POST; GET is for /registry, /stats and /health"

// lastID numbers the calls that are made for requests with a path.
var lastID atomic.Uint64

// rpcRequest is what /rpc takes.
type rpcRequest struct {
	Service string `json:"service"`
	Method  string `json:"method"`
	// Endpoint is what releases from 1.0 on call Method.
	Endpoint string          `json:"endpoint"`
	Request  json.RawMessage `json:"request"`
	Address  string          `json:"address"`
}

// serveRPC answers /rpc: a call that a JSON object or a form describes.
func (s *Server) serveRPC(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, onlyPOST, http.StatusMethodNotAllowed)
		return
	}
	r.Body = bodyOf(w, r, maxRequest)
	q, err := readRPC(r)
	switch {
	case err != nil:
		writeFailure(w, unread(err))
		return
	case q.Service == "" && contentType(r) != "application/json":
		writeFailure(w, badRequest(errors.New("no service is named: the form has no service; JSON has the header Content-Type: application/json")))
		return
	case q.Service == "":
		writeFailure(w, badRequest(errors.New("no service is named")))
		return
	case q.Method == "":
		writeFailure(w, badRequest(errors.New("no method is named")))
		return
	case q.Address != "":
		writeFailure(w, badRequest(errors.New("an address cannot be used to name a service: leave it out")))
		return
	}
	if failed := s.serveCall(w, r, method{q.Service, q.Method}, "", "application/json", q.Request); failed != nil {
		writeFailure(w, failed)
	}
}

// readRPC reads what /rpc is to call. The request itself may be an object, or text
// that is one.
func readRPC(r *http.Request) (rpcRequest, error) {
	var q rpcRequest
	if contentType(r) == "application/json" {
		d := json.NewDecoder(r.Body)
		if err := d.Decode(&q); err != nil {
			return q, fmt.Errorf("reading the JSON of the request: %w", err)
		}
	} else {
		if err := r.ParseForm(); err != nil {
			return q, fmt.Errorf("reading the form of the request: %w", err)
		}
		q = rpcRequest{r.Form.Get("service"), r.Form.Get("method"), r.Form.Get("endpoint"), json.RawMessage(r.Form.Get("request")), r.Form.Get("address")}
	}
	q.Method = cmp.Or(q.Endpoint, q.Method)
	var text string
	if json.Unmarshal(q.Request, &text) == nil && text != "" {
		q.Request = json.RawMessage(text)
	}
	if len(q.Request) == 0 {
		q.Request = json.RawMessage("{}")
	}
	if !json.Valid(q.Request) {
		return q, errors.New("the request is not JSON")
	}
	return q, nil
}

// servePath answers /[service]/[method]: a call whose request is the body.
func (s *Server) servePath(w http.ResponseWriter, r *http.Request, namespace string) {
	if r.Method != http.MethodPost {
		http.Error(w, onlyPOST, http.StatusMethodNotAllowed)
		return
	}
	m, err := methodOf(r.URL.Path, namespace)
	if err != nil {
		writeFailure(w, badRequest(err))
		return
	}
	kind := contentType(r)
	if r.Header.Get("Content-Type") == "" {
		kind = "application/json" // as Micro's later API has it, for curl -X POST
	}
	if kind != "application/json" && kind != "application/protobuf" {
		writeFailure(w, &failure{http.StatusUnsupportedMediaType, "unsupported content-type",
			fmt.Errorf("%q: use application/json or application/protobuf", r.Header.Get("Content-Type"))})
		return
	}
	body, err := io.ReadAll(bodyOf(w, r, maxRequest))
	if err != nil {
		writeFailure(w, unread(fmt.Errorf("reading the request: %w", err)))
		return
	}
	if len(body) == 0 && kind == "application/json" {
		body = []byte("{}")
	}
	if failed := s.serveCall(w, r, m, namespace, kind, body); failed != nil {
		writeFailure(w, failed)
	}
}

func contentType(r *http.Request) string {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return kind
}

// serveCall makes a call for a request, whose service got the namespace (empty for
// none), and answers with what the service says. Of a failure nothing is answered yet.
func (s *Server) serveCall(w http.ResponseWriter, r *http.Request, m method, namespace, kind string, body []byte) *failure {
	to, failed := s.named(m.service)
	if failed != nil {
		failed = s.withNamespace(failed, m.service, namespace)
		s.refused(r, m.service, failed)
		return failed
	}
	h := r.Header.Clone() // is metadata to the service
	for k := range excluded(h) {
		h.Del(k)
	}
	h.Del(headerTopic)
	name, _, _ := strings.Cut(m.service, "@") // as the service calls itself
	h.Set(headerService, name)
	h.Set(headerEndpoint, m.name)
	h.Set(headerMethod, m.name)
	h.Set(headerID, strconv.FormatUint(lastID.Add(1), 10))
	h.Set("Content-Type", kind)
	h.Set("Accept", kind)
	ctx := r.Context()
	if d := timeoutOf(h); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d+s.grace)
		defer cancel()
	}
	x, response, failed := clientOf(r).session.call(ctx, &message{
		to: to, header: h, kept: bytes.NewBuffer(body), length: int64(len(body)),
	})
	if failed != nil {
		return s.withNamespace(failed, m.service, namespace)
	}
	answer, err := io.ReadAll(io.LimitReader(holding(w, response.Body), maxRequest+1))
	if err == nil && len(answer) > maxRequest {
		err = errLongAnswer
	}
	if err != nil {
		x.end(false)
		return notAnswered(ctx, err)
	}
	if x.end(!response.Close && x.far.reader.Buffered() == 0) {
		clientOf(r).session.put(x.far)
	}
	if text := response.Header.Get(headerError); text != "" {
		writeError(w, text)
		return nil
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(response.StatusCode)
	_, _ = w.Write(answer)
	return nil
}

var errLongAnswer = fmt.Errorf("the answer is longer than %d bytes: call by a client of Micro", maxRequest)

// writeFailure answers with an error of the proxy.
func writeFailure(w http.ResponseWriter, f *failure) {
	if _, ok := w.(*publicWriter); ok {
		f = f.forStrangers()
	}
	writeError(w, f.encode())
}

// writeError answers with an error in Micro's form, under the status that it
// says. What is in another form is an error of the service all the same.
func writeError(w http.ResponseWriter, text string) {
	var e envelope
	if json.Unmarshal([]byte(text), &e) != nil {
		e = envelope{ID: "go.micro.server", Code: http.StatusInternalServerError, Detail: text}
		b, _ := json.Marshal(e)
		text = string(b)
	}
	code := e.Code
	if code < 400 || code > 599 {
		code = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, strings.TrimSpace(text))
}
