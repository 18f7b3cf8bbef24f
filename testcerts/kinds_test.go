package testcerts_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	x509request "k8s.io/apiserver/pkg/authentication/request/x509"

	"fauxlet/testcerts"
)

const unknownAuthority = "x509: certificate signed by unknown authority"

// verdicts has the expected result for each kind of certificate. For a client certificate, this is the result of a
// kubelet's authenticator. For a serving certificate, it is the error of kube-apiserver v1.37.2: the field "err" if
// kube-apiserver dials an IP address, and "errByName" if it dials a DNS name. The errors are without times and without
// the prefix "tls: failed to verify certificate: ". The field "openssl" is the error number of `openssl verify` with
// the CA and the arguments in "opensslArgs"; 0 means OK.
var verdicts = map[string]struct {
	user           string // if not empty, the certificate is accepted and has this user
	noOpinion      bool
	err            string // if not empty, the certificate is refused with this error
	errByName      string // if empty, the error is the same as err
	openssl        int
	opensslArgs    []string
	opensslWithPEM bool // openssl verify also gets the intermediate CAs from the certificate file
}{
	"client":               {user: "kubelet-client"},
	"client-intermediate":  {user: "kubelet-client", opensslWithPEM: true},
	"client-no-usage":      {user: "kubelet-client", opensslArgs: []string{"-purpose", "sslclient"}},
	"client-no-name":       {noOpinion: true},
	"client-expired":       {err: "certificate has expired or is not yet valid: current time", openssl: 10},
	"client-not-yet-valid": {err: "certificate has expired or is not yet valid: current time", openssl: 9},
	"client-unknown-ca":    {err: unknownAuthority, openssl: 20},
	"client-chain-missing": {err: unknownAuthority, openssl: 20, opensslWithPEM: true},
	"client-server-usage": {err: "x509: certificate specifies an incompatible key usage", openssl: 26,
		opensslArgs: []string{"-purpose", "sslclient"}},
	"client-sha1": {err: "insecure algorithm ECDSA-SHA1", openssl: 68,
		opensslArgs: []string{"-auth_level", "2"}},

	"server":              {},
	"server-intermediate": {opensslWithPEM: true},
	"server-other-node":   {},
	"server-kubelet-default": {err: "x509: cannot validate certificate for 127.0.0.1 because it doesn't contain " +
		"any IP SANs", errByName: unknownAuthority, openssl: 20},
	"server-self-signed":   {err: unknownAuthority, openssl: 18},
	"server-unknown-ca":    {err: unknownAuthority, openssl: 20},
	"server-chain-missing": {err: unknownAuthority, openssl: 20, opensslWithPEM: true},
	"server-expired":       {err: "x509: certificate has expired or is not yet valid: current time", openssl: 10},
	"server-not-yet-valid": {err: "x509: certificate has expired or is not yet valid: current time", openssl: 9},
	"server-other-host": {err: "x509: certificate is valid for 192.0.2.1, not 127.0.0.1",
		errByName: "x509: certificate is valid for other.invalid, not node-1", openssl: 62,
		opensslArgs: []string{"-verify_hostname", "node-1"}},
	"server-common-name-only": {err: "x509: cannot validate certificate for 127.0.0.1 because it doesn't contain " +
		"any IP SANs", errByName: "x509: certificate relies on legacy Common Name field, use SANs instead", openssl: 64,
		opensslArgs: []string{"-verify_ip", "127.0.0.1"}},
	"server-client-usage": {err: "x509: certificate specifies an incompatible key usage", openssl: 26,
		opensslArgs: []string{"-purpose", "sslserver"}},
	"server-sha1": {err: unknownAuthority +
		` (possibly because of "x509: cannot verify signature: insecure algorithm ECDSA-SHA1"`, openssl: 68,
		opensslArgs: []string{"-auth_level", "2"}},
}

func request(k testcerts.Kind) testcerts.Request {
	switch {
	case k.Name == "server-kubelet-default":
		return testcerts.Request{CommonName: "node-1"} // the kubelet's own certificate has no IP address
	case k.Serving:
		return testcerts.Request{CommonName: "node-1", Hosts: []string{"node-1", "127.0.0.1"}}
	}
	return testcerts.Request{CommonName: "kubelet-client", Organizations: []string{"viewers"}}
}

// withRSA are the kinds that are also tested with an RSA key: one kind for each way to sign a certificate.
var withRSA = map[string]bool{"client": true, "client-sha1": true, "server": true, "server-intermediate": true,
	"server-self-signed": true, "server-kubelet-default": true}

func TestKinds(t *testing.T) {
	ca := must(testcerts.NewAuthority("ca"))(t)
	for _, k := range testcerts.Kinds() {
		for _, rsa := range []bool{false, true} {
			if rsa && !withRSA[k.Name] {
				continue
			}
			name := k.Name
			if rsa {
				name += "-rsa"
			}
			t.Run(name, func(t *testing.T) {
				want, ok := verdicts[k.Name]
				if !ok {
					t.Fatal("the kind has no entry in verdicts")
				}
				r := request(k)
				r.RSA = rsa
				pair := must(k.Mint(ca, r))(t)
				if rsa != (pair.Leaf.PublicKeyAlgorithm == x509.RSA) {
					t.Errorf("key %v, but the request has RSA: %v", pair.Leaf.PublicKeyAlgorithm, rsa)
				}
				if k.Serving {
					// The subject of a kubelet's serving certificate (KEP-4872).
					subject, wanted := pair.Leaf.Subject.String(), "CN=system:node:node-1,O=system:nodes"
					switch k.Name {
					case "server-other-node":
						wanted = "CN=system:node:other-node,O=system:nodes"
					case "server-common-name-only":
						wanted = "CN=node-1"
					case "server-kubelet-default":
						wanted = subject // the host and the time, as a kubelet generates it
					}
					if subject != wanted {
						t.Errorf("the subject is %s, want %s", subject, wanted)
					}
					byName := want.err
					if want.errByName != "" {
						byName = want.errByName
					}
					wantError(t, "by address", dial(t, ca, pair, "127.0.0.1"), want.err)
					wantError(t, "by name", dial(t, ca, pair, "node-1"), byName)
					return
				}
				user, groups, ok, err := authenticate(ca, pair)
				wantError(t, "kubelet", err, want.err)
				if got := !ok && err == nil; got != want.noOpinion {
					t.Errorf("no opinion: %v, want %v", got, want.noOpinion)
				}
				if user != want.user {
					t.Errorf("user %q, want %q", user, want.user)
				}
				if ok && !slices.Equal(groups, []string{"viewers"}) {
					t.Errorf("groups %q, want only viewers", groups)
				}
			})
		}
	}
	if len(verdicts) != len(testcerts.Kinds()) {
		t.Errorf("%d verdicts for %d kinds", len(verdicts), len(testcerts.Kinds()))
	}
}

func wantError(t *testing.T, who string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v, want no error", who, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: %v, want %q", who, err, want)
	}
}

// authenticate passes a request with the client certificate to the authenticator that kubelets use, and returns its
// result.
func authenticate(ca *testcerts.Authority, pair *testcerts.Pair) (user string, groups []string, ok bool, err error) {
	options := x509request.DefaultVerifyOptions()
	options.Roots = ca.Pool()
	var presented []*x509.Certificate
	for _, der := range pair.TLS().Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return "", nil, false, err
		}
		presented = append(presented, c)
	}
	response, ok, err := x509request.New(options, x509request.CommonNameUserConversion).AuthenticateRequest(
		&http.Request{TLS: &tls.ConnectionState{PeerCertificates: presented}})
	if !ok || err != nil {
		return "", nil, ok, err
	}
	return response.User.GetName(), response.User.GetGroups(), true, nil
}

func TestKindNames(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range testcerts.Kinds() {
		prefix := "client"
		if k.Serving {
			prefix = "server"
		}
		if k.Name != prefix && !strings.HasPrefix(k.Name, prefix+"-") {
			t.Errorf("kind %q: its name does not begin with %s", k.Name, prefix)
		}
		if seen[k.Name] || k.Explains == "" {
			t.Errorf("kind %q: duplicate: %v, description %q", k.Name, seen[k.Name], k.Explains)
		}
		seen[k.Name] = true
		if got, err := testcerts.KindNamed(k.Name); err != nil || got.Explains != k.Explains {
			t.Errorf("KindNamed(%q): %v, %v", k.Name, got, err)
		}
	}
	if _, err := testcerts.KindNamed("client-rotten"); err == nil ||
		!strings.Contains(err.Error(), `"client-rotten" is no kind`) || !strings.Contains(err.Error(), "server-sha1") {
		t.Errorf("an unknown kind: error %v, want the name and all kinds", err)
	}
}

func TestMintRequest(t *testing.T) {
	ca := must(testcerts.NewAuthority("ca"))(t)
	hour := must(must(testcerts.KindNamed("client"))(t).Mint(ca, testcerts.Request{CommonName: "c", Life: time.Hour}))(
		t).Leaf
	if left := time.Until(hour.NotAfter); left > time.Hour || left < 59*time.Minute {
		t.Errorf("a certificate for one hour is valid for another %v", left)
	}
	expired := must(must(testcerts.KindNamed("client-expired"))(t).Mint(ca,
		testcerts.Request{CommonName: "c", Life: time.Hour}))(t).Leaf
	if time.Now().Before(expired.NotAfter) {
		t.Errorf("an expired certificate is valid until %v, because the request has a Life", expired.NotAfter)
	}
	for _, c := range []struct {
		name, kind string
		request    testcerts.Request
		want       string
	}{
		{name: "server-without-hosts", kind: "server", request: testcerts.Request{CommonName: "node-1"},
			want: "kind server: a serving certificate needs hosts"},
		{name: "negative-life", kind: "client", request: testcerts.Request{CommonName: "c", Life: -time.Second},
			want: "life -1s: must not be negative"},
		{name: "bad-host", kind: "server-expired", request: testcerts.Request{CommonName: "c", Hosts: []string{"a:1"}},
			want: `kind server-expired: host "a:1": neither`},
		{name: "kubelet-default-without-name", kind: "server-kubelet-default", request: testcerts.Request{},
			want: `host ""`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := must(testcerts.KindNamed(c.kind))(t).Mint(ca, c.request)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	if _, err := (testcerts.Kind{Name: "made-up"}).Mint(ca, testcerts.Request{}); err == nil {
		t.Error("a Kind that does not come from Kinds minted a certificate")
	}
}
