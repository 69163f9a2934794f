package bogo

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
)

// flags are those of BoGo's flags that the shim knows. A test with any other is
// skipped.
type flags struct {
	path                   string
	port                   int
	id                     uint64
	ipv6                   bool
	server                 bool
	resumeCount            int
	certFile, keyFile      string
	trustCert              string
	ocspResponse           string
	signingPrefs           ints
	minVersion, maxVersion int
	no                     [4]bool // TLS 1.0 to 1.3
	curves                 ints
	requireClientCert      bool
	requestClientCert      bool
	noTicket               bool
	hostName               string
	offeredALPN            string
	selectALPN             string
	rejectALPN             bool

	writesFirst, shutsDown, checkCloseNotify bool
	keyUpdate                                bool

	exportLen                  int // of keying material to be written first
	exportLabel, exportContext string
	useExportContext           bool

	expectVersion, expectCurve int
	expectHRR, expectNoHRR     bool
	expectMiss, declineALPN    bool
	expectALPN, expectOffered  string
	expectServerName           string
}

type ints []int

func (l *ints) String() string { return fmt.Sprint(*l) }

func (l *ints) Set(s string) error {
	n, err := strconv.Atoi(s)
	*l = append(*l, n)
	return err
}

// parse reads what the runner gives the shim.
func parse(args []string) (*flags, error) {
	f := &flags{}
	set := flag.NewFlagSet("shim", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&f.path, shimFlag[1:len(shimFlag)-1], "", "")
	set.IntVar(&f.port, "port", 0, "")
	set.Uint64Var(&f.id, "shim-id", 0, "")
	set.IntVar(&f.resumeCount, "resume-count", 0, "")
	for name, p := range map[string]*string{
		"cert-file": &f.certFile, "key-file": &f.keyFile, "trust-cert": &f.trustCert, "ocsp-response": &f.ocspResponse,
		"host-name": &f.hostName, "advertise-alpn": &f.offeredALPN, "select-alpn": &f.selectALPN,
		"expect-alpn": &f.expectALPN, "expect-advertised-alpn": &f.expectOffered, "expect-server-name": &f.expectServerName,
		"export-label": &f.exportLabel, "export-context": &f.exportContext,
	} {
		set.StringVar(p, name, "", "")
	}
	for name, p := range map[string]*int{
		"min-version": &f.minVersion, "max-version": &f.maxVersion,
		"expect-version": &f.expectVersion, "expect-curve-id": &f.expectCurve,
		"export-keying-material": &f.exportLen,
	} {
		set.IntVar(p, name, 0, "")
	}
	set.Var(&f.signingPrefs, "signing-prefs", "")
	set.Var(&f.curves, "curves", "")
	var ignored bool
	for name, p := range map[string]*bool{
		"server": &f.server, "ipv6": &f.ipv6, "implicit-handshake": &ignored, "use-custom-verify-callback": &ignored,
		"no-tls1": &f.no[0], "no-tls11": &f.no[1], "no-tls12": &f.no[2], "no-tls13": &f.no[3],
		"require-any-client-certificate": &f.requireClientCert, "verify-peer": &f.requestClientCert,
		"no-ticket": &f.noTicket, "reject-alpn": &f.rejectALPN, "decline-alpn": &f.declineALPN,
		"shim-writes-first": &f.writesFirst, "shim-shuts-down": &f.shutsDown, "check-close-notify": &f.checkCloseNotify,
		"key-update": &f.keyUpdate, "expect-session-miss": &f.expectMiss, "expect-hrr": &f.expectHRR, "expect-no-hrr": &f.expectNoHRR,
		"use-export-context": &f.useExportContext,
	} {
		set.BoolVar(p, name, false, "")
	}
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	if set.NArg() > 0 {
		return nil, errors.New("arguments that are no flags")
	}
	return f, nil
}

// config is the configuration that f asks for.
func (f *flags) config() (*tls.Config, error) {
	cfg := &tls.Config{
		ServerName: "test", ClientSessionCache: tls.NewLRUClientSessionCache(0), SessionTicketsDisabled: f.noTicket,
	}
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		cfg.CipherSuites = append(cfg.CipherSuites, s.ID)
	}
	for _, id := range f.curves {
		cfg.CurvePreferences = append(cfg.CurvePreferences, tls.CurveID(id))
	}
	if f.hostName != "" {
		cfg.ServerName = f.hostName
	}
	if f.requestClientCert {
		cfg.ClientAuth = tls.RequestClientCert
	}
	if f.requireClientCert {
		cfg.ClientAuth = tls.RequireAnyClientCert
	}
	f.setVersions(cfg)
	if err := f.setALPN(cfg); err != nil {
		return nil, err
	}
	return cfg, f.setCertificates(cfg)
}

func (f *flags) setVersions(cfg *tls.Config) {
	cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS10, tls.VersionTLS13
	if f.maxVersion != 0 {
		cfg.MaxVersion = uint16(f.maxVersion)
	}
	cfg.MinVersion = max(cfg.MinVersion, uint16(f.minVersion))
	for i := range f.no {
		if f.no[i] && cfg.MinVersion == tls.VersionTLS10+uint16(i) {
			cfg.MinVersion++
		}
	}
	for i := len(f.no) - 1; i >= 0; i-- {
		if f.no[i] && cfg.MaxVersion == tls.VersionTLS10+uint16(i) {
			cfg.MaxVersion--
		}
	}
}

func (f *flags) setALPN(cfg *tls.Config) error {
	offered, err := protocols(f.offeredALPN)
	if err != nil {
		return err
	}
	expected, err := protocols(f.expectOffered)
	if err != nil {
		return err
	}
	switch {
	case f.rejectALPN:
		cfg.NextProtos = []string{"none of what is offered"}
	case f.selectALPN != "":
		cfg.NextProtos = []string{f.selectALPN}
	case !f.declineALPN:
		cfg.NextProtos = offered
	}
	if len(expected) > 0 {
		cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if !slices.Equal(hello.SupportedProtos, expected) {
				return nil, fmt.Errorf("offered were %q, not %q", hello.SupportedProtos, expected)
			}
			return nil, nil
		}
	}
	return nil
}

// protocols reads a list of names with a byte in front of each for its length.
func protocols(list string) (all []string, err error) {
	for len(list) > 0 {
		n := 1 + int(list[0])
		if n > len(list) {
			return nil, errors.New("a list of protocols that is cut")
		}
		all = append(all, list[1:n])
		list = list[n:]
	}
	return all, nil
}

func (f *flags) setCertificates(cfg *tls.Config) error {
	if f.trustCert != "" {
		pem, err := os.ReadFile(f.trustCert)
		if err != nil {
			return err
		}
		cfg.RootCAs = x509.NewCertPool()
		cfg.RootCAs.AppendCertsFromPEM(pem)
	}
	if f.certFile == "" {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
	if err != nil {
		return err
	}
	if cert.OCSPStaple, err = base64.StdEncoding.DecodeString(f.ocspResponse); err != nil {
		return err
	}
	for _, id := range f.signingPrefs {
		cert.SupportedSignatureAlgorithms = append(cert.SupportedSignatureAlgorithms, tls.SignatureScheme(id))
	}
	// These give the certificate even where it does not fit what the peer takes.
	cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	return nil
}

// check holds the outcome of a handshake against what f expects.
func (f *flags) check(cs tls.ConnectionState) error {
	switch {
	case f.expectVersion != 0 && int(cs.Version) != f.expectVersion:
		return fmt.Errorf("the version is %x", cs.Version)
	case f.expectCurve != 0 && int(cs.CurveID) != f.expectCurve:
		return fmt.Errorf("the curve is %d", cs.CurveID)
	case f.expectALPN != "" && cs.NegotiatedProtocol != f.expectALPN,
		f.selectALPN != "" && cs.NegotiatedProtocol != f.selectALPN,
		f.declineALPN && cs.NegotiatedProtocol != "":
		return fmt.Errorf("the protocol is %q", cs.NegotiatedProtocol)
	case f.expectHRR && !cs.HelloRetryRequest, f.expectNoHRR && cs.HelloRetryRequest:
		return fmt.Errorf("a second hello was asked for: %v", cs.HelloRetryRequest)
	case f.expectMiss && cs.DidResume:
		return errors.New("the session was resumed")
	case f.expectServerName != "" && cs.ServerName != f.expectServerName:
		return fmt.Errorf("the server's name is %q", cs.ServerName)
	}
	return nil
}
