package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"go-micro.dev/v5/client"
	merrors "go-micro.dev/v5/errors"
	"go-micro.dev/v5/metadata"
)

// order is what a client is told to do, as a line of JSON.
type order struct {
	// Kind is "unary", "proto", "bidi", "server-stream" or "client-stream".
	Kind string `json:"kind"`
	// Services are called in turn.
	Services []string `json:"services"`
	Calls    int      `json:"calls"`
	// Parallel is how many callers there are, each with as many calls.
	Parallel  int     `json:"parallel"`
	TimeoutMS int     `json:"timeout_ms"`
	Retries   *int    `json:"retries"`
	Request   Request `json:"request"`
}

// result is what came of it, as a line of JSON.
type result struct {
	OK int64 `json:"ok"`
	// Mixed counts answers that are not those of the call, of which Wrong is one.
	Mixed int64  `json:"mixed"`
	Wrong string `json:"wrong,omitempty"`
	// Failed counts errors, of which First is one.
	Failed int64    `json:"failed"`
	First  *problem `json:"first,omitempty"`
	// TookMS is how long the slowest call took.
	TookMS int64 `json:"took_ms"`
}

type problem struct {
	ID     string `json:"id"`
	Code   int32  `json:"code"`
	Detail string `json:"detail"`
}

// callAll obeys one order after another, with one client for all of them.
func callAll(grpc bool) error {
	c := newClient(grpc, client.Registry(newRegistry()), client.Broker(newBroker()), client.ContentType("application/json"))
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return err
		}
		b, err := json.Marshal(obey(c, o))
		if err != nil {
			return err
		}
		fmt.Println(string(b))
	}
	return lines.Err()
}

func obey(c client.Client, o order) *result {
	r := new(result)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for p := range max(o.Parallel, 1) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range max(o.Calls, 1) {
				service := o.Services[i%len(o.Services)]
				began := time.Now()
				want, got, err := one(c, o, service, fmt.Sprintf("%s-%d-%d", o.Request.Name, p, i))
				took := time.Since(began).Milliseconds()
				switch {
				case err != nil:
					atomic.AddInt64(&r.Failed, 1)
				case got != want:
					atomic.AddInt64(&r.Mixed, 1)
				default:
					atomic.AddInt64(&r.OK, 1)
				}
				mu.Lock()
				if err == nil && got != want {
					r.Wrong = got
				}
				r.TookMS = max(r.TookMS, took)
				if err != nil && r.First == nil {
					e := parse(err)
					r.First = &problem{e.Id, e.Code, e.Detail}
				}
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	return r
}

func parse(err error) *merrors.Error {
	var e *merrors.Error
	if errors.As(err, &e) {
		return e
	}
	return merrors.Parse(err.Error())
}

// fromBrowser is what the calls of Micro's gateway have, which makes metadata of the
// headers that it gets.
var fromBrowser = metadata.Metadata{
	"Origin": "https://shop.example", "Sec-Fetch-Site": "same-site", "Accept-Language": "en", "User-Agent": "Mozilla/5.0",
}

// one makes a call and returns what the answer must be, and what it is.
func one(c client.Client, o order, service, name string) (want, got string, err error) {
	ctx := metadata.NewContext(context.Background(), fromBrowser)
	if o.TimeoutMS > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(o.TimeoutMS)*time.Millisecond)
		defer cancel()
	}
	var calls []client.CallOption
	if o.Retries != nil {
		calls = append(calls, client.WithRetries(*o.Retries))
	}
	if o.TimeoutMS > 0 {
		calls = append(calls, client.WithRequestTimeout(time.Duration(o.TimeoutMS)*time.Millisecond))
	}
	q := o.Request
	q.Name = name
	want = service + " says hello to " + name
	switch o.Kind {
	case "proto":
		var rsp wrapperspb.StringValue
		err = c.Call(ctx, c.NewRequest(service, "Greeter.Proto", &wrapperspb.StringValue{Value: name}, client.WithContentType("application/protobuf")), &rsp, calls...)
		return want, rsp.Value, err
	case "bidi", "server-stream", "client-stream":
		return streamed(ctx, c, o, service, q, calls)
	}
	var rsp Response
	err = c.Call(ctx, c.NewRequest(service, "Greeter.Hello", &q), &rsp, calls...)
	return want + strings.Repeat(".", q.Size), rsp.Msg, err
}

// streamed runs one stream of so many messages. What opens it is no message to a
// server of Micro.
func streamed(ctx context.Context, c client.Client, o order, service string, q Request, calls []client.CallOption) (want, got string, err error) {
	method := "Greeter.Stream"
	if o.Kind == "client-stream" {
		method, q.Messages = "Greeter.Collect", 0
	}
	n := o.Request.Messages
	if o.Kind == "bidi" {
		q.Messages = 0
	}
	st, err := c.Stream(ctx, c.NewRequest(service, method, &q), calls...)
	if err != nil {
		return "", "", err
	}
	defer st.Close()
	var rsp Response
	switch o.Kind {
	case "bidi":
		for i := range n {
			q.Name = "message-" + strconv.Itoa(i)
			if err := st.Send(&q); err != nil {
				return "", "", err
			}
			if err := st.Recv(&rsp); err != nil {
				return "", "", err
			}
			if want := service + " says hello to " + q.Name; rsp.Msg != want {
				return want, rsp.Msg, nil
			}
		}
		return "", "", nil
	case "client-stream":
		for i := range n {
			q.Name = "message-" + strconv.Itoa(i)
			if i == n-1 {
				q.Name = "last"
			}
			if err := st.Send(&q); err != nil {
				return "", "", err
			}
		}
		err := st.Recv(&rsp)
		return service + " got " + strconv.Itoa(n), rsp.Msg, err
	}
	if err := st.Send(&q); err != nil {
		return "", "", err
	}
	for range n {
		if err := st.Recv(&rsp); err != nil {
			return "", "", err
		}
		// A server of Micro that sends faster than it can write overwrites messages
		// with later ones, proxy or not: of each only its sender is looked at.
		if !strings.HasPrefix(rsp.Msg, service+" 0") {
			return service, rsp.Msg, nil
		}
	}
	if err := st.Recv(&rsp); !errors.Is(err, io.EOF) {
		return "end of stream", fmt.Sprintf("%v %s", err, rsp.Msg), nil
	}
	return "", "", nil
}
