package relay

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/secure"
)

// refusal is a connection through two TLS instances, of which the first refuses
// it.
type refusal struct {
	e      *Engine
	app    *net.TCPConn // the client's own end
	client net.Conn     // the relay's
	done   chan Result

	counters *Counters
	dial     func() (ours, theirs *secure.Conn)
}

func newRefusal(t *testing.T, ownRecords bool) *refusal {
	t.Helper()
	server, client := configs(t, 0)
	r := &refusal{e: New(), done: make(chan Result, 1)}
	t.Cleanup(r.e.Close)
	var inClient *net.TCPConn
	r.app, inClient = listenertest.TCPPair(t)
	r.dial = func() (ours, theirs *secure.Conn) {
		a, b := listenertest.TCPPair(t)
		shaken := make(chan error, 1)
		go func() {
			var err error
			theirs, err = own(server).Server(t.Context(), b)
			shaken <- err
		}()
		ours, err := (&secure.Config{TLS: client, OwnRecords: ownRecords}).Client(t.Context(), a)
		must(t, err)
		must(t, ours.Flush())
		must(t, <-shaken)
		return ours, theirs
	}
	r.client = inClient
	return r
}

// begin relays between the client and an instance that takes no more than most
// to be sent again.
func (r *refusal) begin(client net.Conn, first []byte, most int) (theirs *secure.Conn) {
	ours, theirs := r.dial()
	r.e.Start(client, ours, Options{Replay: most, First: first, Counters: r.counters}, func(res Result) { r.done <- res })
	return theirs
}

func (r *refusal) result(t *testing.T) Result {
	t.Helper()
	select {
	case res := <-r.done:
		return res
	case <-time.After(30 * time.Second):
		t.Fatal("the connection does not end")
		return Result{}
	}
}

func eachWay(t *testing.T, test func(t *testing.T, r *refusal)) {
	for name, ownRecords := range map[string]bool{"own records": true, "crypto/tls": false} {
		t.Run(name, func(t *testing.T) { test(t, newRefusal(t, ownRecords)) })
	}
}

func TestWhatAnInstanceRefusesGoesWholeToTheNext(t *testing.T) {
	eachWay(t, func(t *testing.T, r *refusal) {
		request := random(40_000)
		theirs := r.begin(r.client, nil, 64<<10)
		_, err := r.app.Write(request[:30_000])
		must(t, err)
		must(t, theirs.Refuse(secure.RefusedService))
		res := r.result(t)
		why, ok := secure.RefusalOf(res.Err)
		if res.End != Refused || !ok || why != secure.RefusedService || res.Undelivered == nil || res.ToClient != 0 {
			t.Fatalf("%+v", res)
		}
		_, err = r.app.Write(request[30_000:])
		must(t, err)
		must(t, r.app.CloseWrite())
		theirs = r.begin(res.Undelivered.Client, res.Undelivered.Sent, 64<<10)
		got, err := io.ReadAll(theirs)
		must(t, err)
		if string(got) != string(request) {
			t.Fatalf("%d bytes came, not those %d that were sent", len(got), len(request))
		}
		_, err = theirs.Write([]byte("answer"))
		must(t, err)
		must(t, theirs.CloseWrite())
		answer, err := io.ReadAll(r.app)
		if string(answer) != "answer" || err != nil {
			t.Fatalf("%q, %v", answer, err)
		}
		if res := r.result(t); res.End != Clean || res.ToUpstream != int64(len(request)) || res.ToClient != 6 {
			t.Fatalf("%+v", res)
		}
	})
}

func TestAClientThatHasEndedIsRefusedAndBegunAnewToo(t *testing.T) {
	eachWay(t, func(t *testing.T, r *refusal) {
		_, err := r.app.Write([]byte("all"))
		must(t, err)
		must(t, r.app.CloseWrite())
		theirs := r.begin(r.client, nil, 64<<10)
		must(t, theirs.Refuse(secure.RefusedAccess))
		res := r.result(t)
		if res.End != Refused {
			t.Fatalf("%+v", res)
		}
		theirs = r.begin(res.Undelivered.Client, res.Undelivered.Sent, 64<<10)
		got, err := io.ReadAll(theirs)
		if string(got) != "all" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		_ = theirs.Close()
		_ = r.result(t)
	})
}

// Once the application may have answered, or more has been sent than is kept,
// an alert ends the connection like any other.
func TestNothingIsSentTwiceOnceTheUpstreamHasAnsweredOrTooMuchWasSent(t *testing.T) {
	eachWay(t, func(t *testing.T, r *refusal) {
		theirs := r.begin(r.client, nil, 1000)
		d, ok := theirs.Detach()
		if !ok {
			t.Fatal("not detached")
		}
		_, err := r.app.Write(random(1001))
		must(t, err)
		_, err = io.ReadFull(d.Raw, make([]byte, 1001)) // it is on its way
		must(t, err)
		_, err = d.Raw.Write(d.Records.Alert(nil, 112))
		must(t, err)
		if res := r.result(t); res.End != UpstreamReset || res.Undelivered != nil || !res.UpstreamFirst {
			t.Fatalf("%+v", res)
		}
	})
	eachWay(t, func(t *testing.T, r *refusal) {
		theirs := r.begin(r.client, nil, 1000)
		d, ok := theirs.Detach()
		if !ok {
			t.Fatal("not detached")
		}
		b := d.Records.Alert(d.Records.Seal(nil, []byte("x")), 112)
		_, err := d.Raw.Write(b)
		must(t, err)
		if res := r.result(t); res.End != UpstreamReset || res.ToClient != 1 {
			t.Fatalf("%+v", res)
		}
	})
}

// heldReader is a client whose second read stays with its reader until let go.
type heldReader struct {
	*net.TCPConn
	reads int
	held  chan struct{} // closed when the second read is done
	let   chan struct{} // closed to let it return
}

func (h *heldReader) Read(p []byte) (int, error) {
	n, err := h.TCPConn.Read(p)
	if h.reads++; h.reads == 2 {
		close(h.held)
		<-h.let
	}
	return n, err
}

func TestWhatIsReadWhileTheInstanceRefusesIsNotLost(t *testing.T) {
	r := newRefusal(t, false)
	client := &heldReader{TCPConn: r.client.(*net.TCPConn), held: make(chan struct{}), let: make(chan struct{})}
	theirs := r.begin(client, nil, 1000)
	request := random(1200)
	_, err := r.app.Write(request[:600])
	must(t, err)
	d, ok := theirs.Detach()
	if !ok {
		t.Fatal("not detached")
	}
	_, err = io.ReadFull(d.Raw, make([]byte, 600+secure.Overhead))
	must(t, err)
	_, err = r.app.Write(request[600:])
	must(t, err)
	<-client.held
	_, err = d.Raw.Write(d.Records.Alert(nil, 112))
	must(t, err)
	_, _ = io.ReadAll(d.Raw) // the refusal is known, the read has not returned
	close(client.let)
	res := r.result(t)
	if res.End != Refused || !bytes.Equal(res.Undelivered.Sent, request) {
		t.Fatalf("ended as %v with %d bytes to send again, not all %d", res.End, len(res.Undelivered.Sent), len(request))
	}
}
