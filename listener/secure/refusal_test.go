package secure

import (
	"crypto/tls"
	"errors"
	"io"
	mrand "math/rand/v2"
	"testing"

	"connect-proxy/listener/listenertest"
)

func TestAClientHearsWhyItIsRefusedWhicheverRecordsItHas(t *testing.T) {
	for name, ownRecords := range map[string]bool{"own": true, "crypto/tls": false} {
		for _, why := range []Refusal{RefusedAccess, RefusedService} {
			server, client := configs(t)
			a, b := listenertest.TCPPair(t)
			done := make(chan error, 1)
			go func() {
				ours, err := own(server).Server(t.Context(), b)
				if err == nil {
					err = ours.Refuse(why)
				}
				done <- err
			}()
			c, err := (&Config{TLS: client, OwnRecords: ownRecords}).Client(t.Context(), a)
			if err = errors.Join(err, c.Flush(), <-done); err != nil {
				t.Fatal(err)
			}
			if ownRecords {
				_, err = detach(t, c).readAll(mrand.New(mrand.NewPCG(1, 2)))
			} else {
				_, err = io.ReadAll(c)
			}
			if got, ok := RefusalOf(err); !ok || got != why {
				t.Errorf("%s: %v became %v, %v", name, err, got, ok)
			}
		}
	}
}

func TestOtherEndsAreNoRefusals(t *testing.T) {
	for _, err := range []error{nil, io.EOF, ErrTruncated, tls.AlertError(80), tls.AlertError(20), errors.New("remote error: tls: access denied")} {
		if why, ok := RefusalOf(err); ok {
			t.Errorf("%v is taken for %v", err, why)
		}
	}
}

// With TLS 1.3 a client has finished its handshake when the server judges its
// certificate.
func TestAServerThatDoesNotTrustOurCertificateIsARefusal(t *testing.T) {
	for name, ownRecords := range map[string]bool{"own": true, "crypto/tls": false} {
		server, client := configs(t)
		server.VerifyConnection = func(tls.ConnectionState) error { return errors.New("not of this mesh") }
		a, b := listenertest.TCPPair(t)
		done := make(chan error, 1)
		go func() { done <- tls.Server(b, server).Handshake() }()
		c, err := (&Config{TLS: client, OwnRecords: ownRecords}).Client(t.Context(), a)
		if err = errors.Join(err, c.Flush()); err != nil {
			t.Fatal(err)
		}
		if <-done == nil {
			t.Fatal("the server takes the client")
		}
		if ownRecords {
			_, err = detach(t, c).readAll(mrand.New(mrand.NewPCG(1, 2)))
		} else {
			_, err = io.ReadAll(c)
		}
		if why, ok := RefusalOf(err); !ok || why != RefusedAccess {
			t.Errorf("%s: %v became %v, %v", name, err, why, ok)
		}
	}
}
