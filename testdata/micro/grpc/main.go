// A server and a client of gRPC for tests, without anything of Micro. They take the
// orders and give the results of the programs beside them.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func main() {
	fs := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	service := fs.String("service", "greeter", "")
	fs.Bool("grpc", true, "")
	_ = fs.Parse(os.Args[2:])
	run := callAll
	if os.Args[1] == "serve" {
		run = func() error { return serve(*service) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type order struct {
	// Kind is "unary", "bidi", "server-stream", "client-stream", "fail", "trailers",
	// or "cancel".
	Kind      string   `json:"kind"`
	Services  []string `json:"services"`
	Calls     int      `json:"calls"`
	Parallel  int      `json:"parallel"`
	TimeoutMS int      `json:"timeout_ms"`
	Request   struct {
		Name     string `json:"name"`
		Size     int    `json:"size"`
		SleepMS  int    `json:"sleep_ms"`
		Messages int    `json:"messages"`
		Journal  string `json:"journal"`
	} `json:"request"`
}

type result struct {
	OK     int64    `json:"ok"`
	Mixed  int64    `json:"mixed"`
	Wrong  string   `json:"wrong,omitempty"`
	Failed int64    `json:"failed"`
	First  *problem `json:"first,omitempty"`
	TookMS int64    `json:"took_ms"`
}

// problem has a code of gRPC.
type problem struct {
	Code   int    `json:"code"`
	Detail string `json:"detail"`
}

// callAll obeys one order after another over one client connection.
func callAll() error {
	c, err := grpc.NewClient("passthrough:///"+os.Getenv("MICRO_PROXY"), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
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

func obey(c *grpc.ClientConn, o order) *result {
	r := new(result)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for p := range max(o.Parallel, 1) {
		wg.Go(func() {
			for i := range max(o.Calls, 1) {
				began := time.Now()
				want, got, err := one(c, o, o.Services[i%len(o.Services)], fmt.Sprintf("%s-%d-%d", o.Request.Name, p, i))
				mu.Lock()
				r.TookMS = max(r.TookMS, time.Since(began).Milliseconds())
				switch {
				case err != nil:
					r.Failed++
					if s := status.Convert(err); r.First == nil {
						r.First = &problem{int(s.Code()), s.Message()}
					}
				case got != want:
					r.Mixed, r.Wrong = r.Mixed+1, got[:min(len(got), 200)]
				default:
					r.OK++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return r
}

// one makes a call and returns what the answer must be, and what it is.
func one(c *grpc.ClientConn, o order, service, name string) (want, got string, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	if o.TimeoutMS > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(o.TimeoutMS)*time.Millisecond)
	}
	defer cancel()
	method := "/" + service + ".Greeter/"
	in := wrapperspb.String(name + strings.Repeat(".", o.Request.Size))
	ctx = metadata.AppendToOutgoingContext(ctx, "sleep-ms", fmt.Sprint(o.Request.SleepMS), "messages", fmt.Sprint(o.Request.Messages), "journal", o.Request.Journal)
	switch o.Kind {
	case "unary", "fail":
		out := new(wrapperspb.StringValue)
		err = c.Invoke(ctx, method+map[string]string{"unary": "Hello", "fail": "Fail"}[o.Kind], in, out)
		return service + " says hello to " + in.Value, out.Value, err
	case "trailers":
		var header, trailer metadata.MD
		out := new(wrapperspb.StringValue)
		err = c.Invoke(ctx, method+"Hello", in, out, grpc.Header(&header), grpc.Trailer(&trailer))
		return "[in front] [behind \x01\xff]", fmt.Sprint(header["header"], " ", trailer["trailer-bin"]), err
	}
	return stream(ctx, cancel, c, o, service, in)
}

func stream(ctx context.Context, cancel func(), c *grpc.ClientConn, o order, service string, in *wrapperspb.StringValue) (want, got string, err error) {
	both := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	st, err := c.NewStream(ctx, both, "/"+service+".Greeter/"+map[string]string{
		"bidi": "Echo", "server-stream": "Count", "client-stream": "Collect", "cancel": "Echo",
	}[o.Kind])
	if err != nil {
		return "", "", err
	}
	out := new(wrapperspb.StringValue)
	for range o.Request.Messages {
		switch o.Kind {
		case "bidi", "cancel":
			if err := st.SendMsg(in); err != nil {
				return "", "", st.RecvMsg(out)
			}
			if err := st.RecvMsg(out); err != nil {
				return "", "", err
			}
			if out.Value != in.Value {
				return in.Value, out.Value, nil
			}
		case "client-stream":
			if err := st.SendMsg(in); err != nil {
				return "", "", st.RecvMsg(out)
			}
		}
	}
	if o.Kind == "cancel" {
		cancel()
		err := st.RecvMsg(out)
		return codes.Canceled.String(), status.Code(err).String(), nil
	}
	if o.Kind == "server-stream" {
		if err := st.SendMsg(in); err != nil {
			return "", "", err
		}
	}
	if err := st.CloseSend(); err != nil {
		return "", "", err
	}
	n := 0
	for {
		switch err := st.RecvMsg(out); {
		case status.Code(err) != codes.OK && err.Error() != "EOF":
			return "", "", err
		case err != nil:
			switch o.Kind {
			case "server-stream":
				return fmt.Sprint(o.Request.Messages), fmt.Sprint(n), nil
			case "client-stream":
				return fmt.Sprintf("%s got %d", service, o.Request.Messages), out.Value, nil
			}
			return "", "", nil
		}
		n++
	}
}
