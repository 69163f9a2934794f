package secure

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"connect-proxy/listener/secure/record"
)

// replaceable is a transport that is replaced by memory after the handshake.
type replaceable struct {
	net.Conn
	in, out *bytes.Buffer // nil during the handshake
}

var errRanOut = errors.New("nothing more to read")

func (r *replaceable) Read(p []byte) (int, error) {
	if r.in == nil {
		return r.Conn.Read(p)
	}
	if r.in.Len() == 0 {
		return 0, errRanOut
	}
	return r.in.Read(p)
}

func (r *replaceable) Write(p []byte) (int, error) {
	if r.out == nil {
		return r.Conn.Write(p)
	}
	return r.out.Write(p)
}

// subject is one end of a connection after its handshake, with what its peer
// needs to write records to it and to read its own.
type subject struct {
	conn      *Conn
	transport *replaceable
	toIt      direction
	fromIt    direction
}

// newSubject shakes hands between the subject and crypto/tls, in memory.
func newSubject(t testing.TB, client, ownRecords bool) *subject {
	t.Helper()
	shared := sharedConfigs(t)
	mine, theirs := shared.server.Clone(), shared.client.Clone()
	if client {
		mine, theirs = theirs, mine
		mine.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	var log secrets
	theirs.KeyLogWriter = &log
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	s := &subject{transport: &replaceable{Conn: a}}
	done := make(chan error, 1)
	cfg := &Config{TLS: mine, OwnRecords: ownRecords}
	var err error
	if client {
		go func() { done <- tls.Server(b, theirs).Handshake() }()
		if s.conn, err = cfg.Client(t.Context(), s.transport); err == nil {
			err = s.conn.Flush()
		}
	} else {
		go func() { done <- tls.Client(b, theirs).Handshake() }()
		s.conn, err = cfg.Server(t.Context(), s.transport)
	}
	if err = errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	suite, _ := record.SuiteByID(s.conn.ConnectionState().CipherSuite)
	s.toIt, s.fromIt = newDirection(suite, log.client), newDirection(suite, log.server)
	if client {
		s.toIt, s.fromIt = s.fromIt, s.toIt
	}
	s.transport.in, s.transport.out = new(bytes.Buffer), new(bytes.Buffer)
	return s
}

type configPair struct{ server, client *tls.Config }

var sharedPair struct {
	sync.Once
	configPair
}

// sharedConfigs are the configurations of all subjects: making a certificate
// takes longer than a handshake.
func sharedConfigs(t testing.TB) configPair {
	sharedPair.Do(func() {
		sharedPair.server, sharedPair.client = configs(t)
		sharedPair.server.SessionTicketsDisabled = true // they would count as records
		for _, cfg := range []*tls.Config{sharedPair.server, sharedPair.client} {
			cfg.CurvePreferences = []tls.CurveID{tls.CurveP256} // quick, and no second hello
		}
	})
	return sharedPair.configPair
}

// outcome is what an end makes of what its peer sends.
type outcome struct {
	data    string
	end     string
	alert   int  // it sent; -1 is none
	updated bool // it replaced its key
}

func (s *subject) read(script []byte) outcome {
	var o outcome
	if d, ok := s.conn.Detach(); ok {
		o = readDetached(d.Records, script, s.transport.out)
	} else {
		s.transport.in.Write(script)
		data, err := io.ReadAll(s.conn.Conn)
		if err == nil {
			err = io.EOF
		}
		o = outcome{data: string(data), end: endOf(err)}
	}
	o.alert, o.updated = s.sent()
	return o
}

func readDetached(r *Records, src []byte, out *bytes.Buffer) outcome {
	var all []byte
	for {
		room := make([]byte, 0, 1<<17)
		content, used, err := r.Open(room, src)
		src = src[used:]
		all = append(all, content...)
		if r.KeyUpdatePending() {
			out.Write(r.Seal(nil, nil))
		}
		if err != nil {
			out.Write(r.Refuse(nil, err))
			return outcome{data: string(all), end: endOf(err)}
		}
		if used == 0 {
			return outcome{data: string(all), end: endOf(errRanOut)}
		}
	}
}

func endOf(err error) string {
	var remote tls.AlertError
	var op *net.OpError
	switch {
	case err == io.EOF:
		return "closed"
	case err == errRanOut:
		return "open"
	case errors.As(err, &op) && op.Op == "remote error":
		return "remote error " + op.Err.Error()
	case errors.As(err, &remote):
		return "remote error " + remote.Error()
	}
	return "local error"
}

// sent reads what the subject has written.
func (s *subject) sent() (alert int, updated bool) {
	alert = -1
	for b := s.transport.out.Bytes(); len(b) >= record.HeaderLen; {
		n := record.HeaderLen + int(binary.BigEndian.Uint16(b[3:]))
		content, typ, err := s.fromIt.Open(make([]byte, 0, n), b[:n])
		switch b = b[n:]; {
		case err != nil:
			return -2, updated
		case typ == record.Alert:
			alert = int(content[1])
		case typ == record.Handshake && len(content) > 0 && content[0] == keyUpdate:
			s.fromIt.update()
			updated = true
		}
	}
	return alert, updated
}

// compare has both engines read the same script, sealed for each by write.
func compare(t testing.TB, client bool, write func(out *direction) []byte) outcome {
	t.Helper()
	theirs, ours := newSubject(t, client, false), newSubject(t, client, true)
	want, got := theirs.read(write(&theirs.toIt)), ours.read(write(&ours.toIt))
	if got != want && !parsedFirst(want, got) {
		t.Fatalf("as client %v:\n  crypto/tls %s\n  ours       %s", client, want, got)
	}
	return got
}

// parsedFirst reports whether the two differ in the alert alone that answers a
// message which may not come: crypto/tls parses it before it refuses it, and
// says decode_error if it cannot.
func parsedFirst(theirs, ours outcome) bool {
	if theirs.alert != 50 || ours.alert != 10 {
		return false
	}
	theirs.alert = ours.alert
	return theirs == ours
}

func (o outcome) String() string {
	return fmt.Sprintf("%d bytes, %s, alert %d, key replaced %v", len(o.data), o.end, o.alert, o.updated)
}

// ticket is a NewSessionTicket message.
func ticket(lifetime uint32, label int, extensions ...byte) []byte {
	body := binary.BigEndian.AppendUint32(nil, lifetime)
	body = append(body, 0, 0, 0, 1, 0)
	body = append(binary.BigEndian.AppendUint16(body, uint16(label)), make([]byte, label)...)
	body = append(binary.BigEndian.AppendUint16(body, uint16(len(extensions))), extensions...)
	return append([]byte{newSessionTicket, 0, byte(len(body) >> 8), byte(len(body))}, body...)
}

// What a peer may send after a handshake ends as it does with crypto/tls: with
// the same bytes for the application, the same end and the same alert.
func TestEveryRecordEndsAsItDoesWithCryptoTLS(t *testing.T) {
	type step func(out *direction) []byte
	send := func(typ byte, content ...byte) step {
		return func(out *direction) []byte { return out.Seal(nil, content, typ) }
	}
	raw := func(b ...byte) step { return func(*direction) []byte { return b } }
	update := func(ask byte) step {
		return func(out *direction) []byte {
			sealed := out.Seal(nil, []byte{keyUpdate, 0, 0, 1, ask}, record.Handshake)
			out.update()
			return sealed
		}
	}
	padded := func(content, padding int, typ byte) step {
		inner := append(append(make([]byte, content), typ), make([]byte, padding)...)
		return func(out *direction) []byte { return out.Seal(nil, inner[:len(inner)-1], inner[len(inner)-1]) }
	}
	pieces := func(message []byte, size int) step {
		return func(out *direction) (sealed []byte) {
			for m := message; len(m) > 0; m = m[min(size, len(m)):] {
				sealed = out.Seal(sealed, m[:min(size, len(m))], record.Handshake)
			}
			return sealed
		}
	}
	many := func(n int, s step) []step {
		all := make([]step, n)
		for i := range all {
			all[i] = s
		}
		return all
	}
	data := send(record.ApplicationData, []byte("data")...)
	const day = 24 * 3600
	for name, steps := range map[string][]step{
		"data":                               {data, data},
		"data and its end":                   {data, send(record.Alert, 1, alertCloseNotify), data},
		"data of the greatest length":        {padded(record.MaxPlaintext, 0, record.ApplicationData)},
		"data one too long":                  {padded(record.MaxPlaintext+1, 0, record.ApplicationData)},
		"padding":                            {padded(10, 1000, record.ApplicationData)},
		"padding to the limit":               {padded(10, record.MaxPlaintext-10, record.ApplicationData), data},
		"padding beyond it":                  {padded(10, record.MaxPlaintext-9, record.ApplicationData), data},
		"padding far beyond it":              {padded(10, record.MaxPlaintext+200, record.ApplicationData), data},
		"padding alone":                      {padded(0, 20, 0), data},
		"a padded alert":                     {padded(2, 5, record.Alert)},
		"empty data":                         append(many(16, send(record.ApplicationData)), data),
		"too much of it":                     append(many(17, send(record.ApplicationData)), data),
		"empty data between data":            append(many(10, send(record.ApplicationData)), append([]step{data}, many(10, send(record.ApplicationData))...)...),
		"a user's cancellation":              {send(record.Alert, 1, alertUserCanceled), data, send(record.Alert, 1, alertCloseNotify)},
		"a fatal alert":                      {send(record.Alert, 2, 49), data},
		"a warning":                          {send(record.Alert, 1, 49), data},
		"half an alert":                      {send(record.Alert, 1), data},
		"two alerts in one":                  {send(record.Alert, 1, 90, 1, 0), data},
		"an empty alert":                     {send(record.Alert), data},
		"a key update":                       {update(0), data},
		"a key update that asks for another": {update(1), data},
		"two of them":                        {update(1), update(1), data},
		"too many":                           append(many(17, update(0)), data),
		"as many as may be":                  append(many(16, update(1)), data),
		"a key update with another value":    {send(record.Handshake, keyUpdate, 0, 0, 1, 2), data},
		"a key update that is too long":      {send(record.Handshake, keyUpdate, 0, 0, 2, 0, 0), data},
		"an empty key update":                {send(record.Handshake, keyUpdate, 0, 0, 0), data},
		"a key update and more":              {send(record.Handshake, keyUpdate, 0, 0, 1, 0, keyUpdate), data},
		"a key update in pieces":             {send(record.Handshake, keyUpdate, 0), send(record.Handshake, 0, 1, 0), data},
		"data within a message":              {send(record.Handshake, newSessionTicket, 0), data},
		"empty data within a message":        {send(record.Handshake, newSessionTicket, 0), send(record.ApplicationData), data},
		"an alert within a message":          {send(record.Handshake, newSessionTicket, 0), send(record.Alert, 1, 0), data},
		"an empty handshake record":          {send(record.Handshake), data},
		"another message":                    {send(record.Handshake, 20, 0, 0, 0), data},
		"a message nobody knows":             {send(record.Handshake, 99, 0, 0, 0), data},
		"a message without end":              {send(record.Handshake, newSessionTicket, 1, 0, 1), data},
		"a ticket":                           {pieces(ticket(day, 100), 4000), data},
		"a ticket and another":               {pieces(append(ticket(day, 100), ticket(day, 50)...), 4000), data},
		"a ticket and a key update in one":   {pieces(append(ticket(day, 100), keyUpdate, 0, 0, 1, 0), 4000)},
		"a ticket in forty pieces":           {pieces(ticket(day, 383), 10), data},
		"a ticket in pieces of one":          {pieces(ticket(day, 100), 1), data},
		"too many tickets":                   append(many(17, pieces(ticket(day, 10), 4000)), data),
		"a ticket without a label":           {pieces(ticket(day, 0), 4000), data},
		"a ticket for eight days":            {pieces(ticket(8*day, 10), 4000), data},
		"a ticket not to be kept":            {pieces(ticket(0, 10), 4000), data},
		"a ticket for early data":            {pieces(ticket(day, 10, 0, 42, 0, 4, 0, 0, 0, 9), 4000), data},
		"a ticket for early data, cut":       {pieces(ticket(day, 10, 0, 42, 0, 2, 0, 0), 4000), data},
		"a ticket with an extension":         {pieces(ticket(day, 10, 99, 99, 0, 2, 0, 0), 4000), data},
		"a ticket with half an extension":    {pieces(ticket(day, 10, 99, 99, 0), 4000), data},
		"a ticket that is cut":               {pieces([]byte{newSessionTicket, 0, 0, 3, 1, 2, 3}, 4000), data},
		"a ticket after data":                {data, pieces(ticket(day, 100), 4000), data},
		"a broken ticket after data":         {data, pieces(ticket(8*day, 100), 4000), data},
		"a change of ciphers":                {raw(20, 3, 3, 0, 1, 1), data},
		"seventeen of them":                  append(many(17, raw(20, 3, 3, 0, 1, 1)), data),
		"a wrong one":                        {raw(20, 3, 3, 0, 1, 2), data},
		"an empty one":                       {raw(20, 3, 3, 0, 0), data},
		"one within a message":               {send(record.Handshake, newSessionTicket, 0), raw(20, 3, 3, 0, 1, 1), data},
		"content of another kind":            {send(24, 1, 2, 3), data},
		"an alert in clear":                  {raw(21, 3, 3, 0, 2, 2, 49), data},
		"a record of another version":        {raw(23, 3, 1, 0, 20), data},
		"a record that is too long":          {raw(23, 3, 3, 0x41, 0x01), data},
		"a record that does not open":        {raw(append([]byte{23, 3, 3, 0, 32}, make([]byte, 32)...)...), data},
		"a record that is too short":         {raw(23, 3, 3, 0, 3, 1, 2, 3), data},
		"half a record":                      {raw(23, 3, 3, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			for _, client := range []bool{false, true} {
				compare(t, client, func(out *direction) (sealed []byte) {
					for _, s := range steps {
						sealed = append(sealed, s(out)...)
					}
					return sealed
				})
			}
		})
	}
}

// RFC 8446 5 has an unexpected_message for a change_cipher_spec under
// protection; crypto/tls ignores it.
func TestAProtectedChangeOfCiphersEndsTheConnectionThoughCryptoTLSIgnoresIt(t *testing.T) {
	write := func(out *direction) []byte { return out.Seal(nil, []byte{1}, record.ChangeCipherSpec) }
	theirs, ours := newSubject(t, false, false), newSubject(t, false, true)
	if o := theirs.read(write(&theirs.toIt)); o.end != "open" {
		t.Errorf("crypto/tls does as the protocol says now: %s", o)
	}
	if o := ours.read(write(&ours.toIt)); o.end != "local error" || o.alert != 10 {
		t.Error(o)
	}
}

// FuzzRecordsAgainstCryptoTLS has a peer send any sequence of records to both
// engines, which must make the same of it.
func FuzzRecordsAgainstCryptoTLS(f *testing.F) {
	f.Add([]byte{0, 1, 4, 0, 3, 5, 0, 0, 0}, false)
	f.Add([]byte{4, 1, 0, 0, 9, 0, 2, 1, 0}, true)
	f.Add([]byte{5, 100, 7, 0, 200, 0, 6, 0, 0, 7, 60, 0}, true)
	f.Fuzz(func(t *testing.T, script []byte, client bool) {
		if len(script) > 300 {
			return
		}
		compare(t, client, func(out *direction) []byte { return write(out, script) })
	})
}

// write seals what a script of three bytes a record says: its kind and two
// numbers.
func write(out *direction, script []byte) (sealed []byte) {
	for ; len(script) >= 3; script = script[3:] {
		a, b := int(script[1]), int(script[2])
		switch script[0] % 10 {
		case 0:
			sealed = out.Seal(sealed, bytes.Repeat([]byte{byte(b)}, a), record.ApplicationData)
		case 1: // with padding
			inner := append(append(bytes.Repeat([]byte{7}, b), record.ApplicationData), make([]byte, a*66)...)
			sealed = out.Seal(sealed, inner[:len(inner)-1], inner[len(inner)-1])
		case 2:
			sealed = out.Seal(sealed, []byte{byte(a), byte(b)}, record.Alert)
		case 3:
			sealed = out.Seal(sealed, []byte{keyUpdate, 0, 0, 1, byte(a)}, record.Handshake)
			if a <= 1 {
				out.update()
			}
		case 4:
			sealed = append(sealed, record.ChangeCipherSpec, 3, 3, 0, byte(a), byte(b))
		case 5: // a ticket, the first b bytes missing
			msg := ticket(uint32(a)*5000, a%20, make([]byte, a/20)...)
			sealed = out.Seal(sealed, msg[min(b, len(msg)):], record.Handshake)
		case 6: // the first b bytes of one
			msg := ticket(uint32(a)*5000, a%20, make([]byte, a/20)...)
			sealed = out.Seal(sealed, msg[:min(b, len(msg))], record.Handshake)
		case 7: // any handshake message
			sealed = out.Seal(sealed, []byte{byte(a), 0, 0, byte(b)}, record.Handshake)
		case 8: // any content, but what the two differ in on purpose
			if a != int(record.ChangeCipherSpec) && a != 0 {
				sealed = out.Seal(sealed, make([]byte, b), byte(a))
			}
		case 9: // anything in clear
			sealed = append(sealed, byte(a), 3, byte(b), 0, 3, 1, 2, 3)
		}
	}
	return sealed
}
