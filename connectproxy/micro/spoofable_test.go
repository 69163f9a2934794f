package micro

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"connect-proxy/config"
)

// lies are headers by which services learn who calls, from one proxy or another.
var lies = strings.Fields(`
	Micro-From-Service Micro-Topic X-Micro-Id Grpc-Timeout X-Envoy-Internal X-Consul-Token X-Istio-Attributes
	L5d-Client-Id L5d-Dst-Override Dapr-App-Id X-Spiffe-Id X-Internal-Call
	Forwarded X-Forwarded X-Forwarded-For X-Forwarded-Client-Cert X-Forwarded-User X-Forwarded-Prefix Forwarded-For X-Vercel-Forwarded-For
	X-Real-Ip X-Client-Ip X-Cluster-Client-Ip X-Cluster-Ip True-Client-Ip X-True-Client-Ip Client-Ip Proxy-Client-Ip Wl-Proxy-Client-Ip
	Http-Client-Ip Fastly-Client-Ip Fly-Client-Ip Do-Connecting-Ip X-Appengine-User-Ip X-Nf-Client-Connection-Ip X-Originating-Ip
	X-Proxyuser-Ip X-Azure-Clientip X-Azure-Socketip Via-Ip X-Coming-From Akamai-Origin-Hop
	Cf-Connecting-Ip Cf-Connecting-Ipv6 Cf-Pseudo-Ipv4 Cf-Ipcountry Cf-Visitor Cf-Access-Jwt-Assertion Cf-Access-Authenticated-User-Email
	Remote-User Remote-Groups Remote-Email Remote-Name Remote-Addr X-Remote-User X-Webauth-User X-Webauth-Email
	X-Auth-Request-User X-Auth-Request-Email X-Auth-Request-Groups X-Auth-User X-Auth-Email X-Auth-Groups X-Authenticated-User
	X-Authentik-Username X-Authentik-Groups X-Pomerium-Jwt-Assertion X-Pomerium-Claim-Email X-Token-Subject X-Token-Claims X-Vouch-User
	X-Goog-Authenticated-User-Email X-Goog-Iap-Jwt-Assertion X-Amzn-Oidc-Data X-Amzn-Oidc-Identity X-Amzn-Mtls-Clientcert
	X-Ms-Client-Principal X-Ms-Client-Principal-Name X-Ms-Token-Aad-Id-Token Tailscale-User-Login Tailscale-User-Name
	X-User X-User-Id X-Username X-Userinfo X-Verified X-Consumer-Username X-Credential-Identifier X-Anonymous-Consumer
	X-Apigateway-Api-Userinfo X-Jwt-Assertion Oidc-Claim-Sub Shib-Session-Id Sm_user Iv-Creds
	Client-Cert Client-Cert-Chain X-Client-Cert X-Client-Verify X-Client-Dn X-Client-S-Dn X-Client-Subject Ssl-Client-Verify Ssl-Client-Cert
	X-Ssl-Client-Dn X-Ssl-Cert X-Tls-Client-Cert Tls-Client-Cert Tls-Client-Verify X-Arr-Clientcert X-Arr-Ssl $WSCC
	X-Host X-Forwarded-Host X-Original-Host X-Http-Host-Override X-Scheme X-Url-Scheme X-Proto X-Protocol X-Https Https Front-End-Https X-Port
	X-Original-Url X-Rewrite-Url X-Request-Uri Script-Name X-Script-Name Path-Info X-Ingress-Path Base-Url
	X-Email X-Id-Token X-Auth-Subject X-Auth-Audience X-Auth-Scope Auth-Mail Auth-Cn Cas-Attributes Mellon-Mail
	Affiliation Unscoped-Affiliation Entitlement Persistent-Id Targeted-Id Subject-Id Pairwise-Id Mail Uid Smuser X-Role X-Group
	X-Amzn-Lattice-Identity X-Amzn-Source-Vpc X-Scope-Orgid Thanos-Tenant Accountid Projectid X-Rh-Identity
	Impersonate-Group Impersonate-Uid Impersonate-Extra-Scopes X-Agw-Sub X-Cloudtasks-Queuename X-Cloudscheduler Cloudfront-Viewer-Address
	X-Matched-Path X-Now-Route-Matches X-Invoke-Path X-Ms-Original-Url
	X-Accel-Mapping X-Accel-Redirect X-Sendfile-Type X-Middleware-Subrequest X-Content-Type Proxy`)

// honest are headers that browsers, programs and senders of events do send.
var honest = strings.Fields(`
	Accept Accept-Language Authorization Cookie Content-Language Dnt If-None-Match Origin Range Referer Save-Data Sec-Fetch-Site Sec-Fetch-User
	User-Agent X-User-Agent X-Amz-User-Agent X-Grpc-Web X-Requested-With X-Csrf-Token X-Api-Key X-Auth-Token X-Access-Token X-Request-Id
	Traceparent Tracestate X-B3-Traceid Idempotency-Key Last-Event-Id Connect-Protocol-Version X-Http-Method-Override Hx-Current-Url
	Stripe-Signature Paypal-Cert-Url Paypal-Auth-Algo X-Hub-Signature-256 X-Github-Event X-Twilio-Email-Event-Webhook-Signature Cf-Webhook-Auth
	X-Amzn-Trace-Id X-Tenant Shipping Hosted Tip`)

func TestNoWordOfAProxyIsTakenFromAStranger(t *testing.T) {
	rules, err := newHeaderRules(config.Edge{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range lies {
		for _, as := range []string{name, strings.ToUpper(name), strings.ReplaceAll(name, "-", "_"), strings.ReplaceAll(name, "-", ".")} {
			if !rules.removes(http.CanonicalHeaderKey(as)) {
				t.Errorf("%s passes", as)
			}
		}
	}
	for _, name := range honest {
		if rules.removes(name) {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestEveryEntryOfSpoofableIsNeeded(t *testing.T) {
	for i, pattern := range spoofable {
		name := strings.ReplaceAll(pattern, "*", "zz")
		others, err := config.NewHeaderList(slices.Delete(slices.Clone(spoofable), i, i+1))
		if err != nil {
			t.Fatal(err)
		}
		if (headerRules{listed: others}).removes(name) {
			t.Errorf("%s is found without its own entry", pattern)
		}
	}
}

func TestTheDocumentationHasAllThatIsTakenFromStrangers(t *testing.T) {
	b, err := os.ReadFile("../../docs/micro.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "### Headers of strangers")
	section, _, _ = strings.Cut(section, "\n## ")
	all := slices.Clone(spoofable)
	for word := range spoofableWords {
		all = append(all, http.CanonicalHeaderKey(word))
	}
	for name := range ownWords {
		all = append(all, http.CanonicalHeaderKey(name))
	}
	for _, name := range all {
		if !strings.Contains(section, "`"+name+"`") {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestTheOperatorSaysLastWhichHeadersAreKept(t *testing.T) {
	rules, err := newHeaderRules(config.Edge{KeepHeaders: []string{"X-User-Id", "X-Client-*"}, RemoveHeaders: []string{"X-Client-Secret", "X-Acme"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"X-User-Id": false, "X_user_id": false, "X-Client-Id": false, "X-Client-Secret": true, "X-Acme": true, "X-User": true, "Accept": false,
	} {
		if got := rules.removes(name); got != want {
			t.Errorf("%s is removed: %t", name, got)
		}
	}
}
