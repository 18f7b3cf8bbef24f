package explain

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"fauxlet/testcerts"
)

const host = "192.0.2.7"

// problemsOfKinds maps each kind of certificate in package testcerts to the problems that are expected.
var problemsOfKinds = map[string][]problemID{
	"client":               nil,
	"client-intermediate":  nil,
	"client-no-usage":      nil,
	"client-no-name":       {problemName},
	"client-expired":       {problemExpired},
	"client-not-yet-valid": {problemNotYetValid},
	"client-unknown-ca":    {problemUnknownCA},
	"client-chain-missing": {problemUnknownCA},
	"client-server-usage":  {problemUsage},
	"client-sha1":          {problemWeakSignature},

	"server":                  nil,
	"server-intermediate":     nil,
	"server-other-node":       nil,                              // its name is not verified
	"server-kubelet-default":  {problemSelfSigned, problemName}, // signed by a CA that is self-signed
	"server-self-signed":      {problemSelfSigned},
	"server-unknown-ca":       {problemUnknownCA},
	"server-chain-missing":    {problemUnknownCA},
	"server-expired":          {problemExpired},
	"server-not-yet-valid":    {problemNotYetValid},
	"server-other-host":       {problemName},
	"server-common-name-only": {problemNoSAN},
	"server-client-usage":     {problemUsage},
	"server-sha1":             {problemWeakSignature},
}

// TestProblemsOfKinds checks which problems are found in each kind of certificate. If crypto/x509 refuses the
// certificate, one of the problems must not be harmless. If crypto/x509 accepts it, all problems must be harmless.
func TestProblemsOfKinds(t *testing.T) {
	ca := authority(t, "cluster-ca")
	now := time.Now()
	for _, kind := range testcerts.Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			presented := mint(t, kind, ca)
			problems := problemsOf(kind.Serving, presented, ca, now)
			var ids []problemID
			refusable := false
			for _, p := range problems {
				ids = append(ids, p.ID)
				refusable = refusable || !p.Harmless
			}
			want, ok := problemsOfKinds[kind.Name]
			if !ok || !slices.Equal(ids, want) {
				t.Errorf("problems %+v, want %q", problems, want)
			}
			if err := accept(kind.Serving, presented, ca, now); (err != nil) != refusable {
				t.Errorf("crypto/x509 returns %v, but the problems are %+v", err, problems)
			}
		})
	}
}

// TestAllProblemsAreFound checks that, for a certificate with several problems, all of them are found.
func TestAllProblemsAreFound(t *testing.T) {
	ca, other := authority(t, "cluster-ca"), authority(t, "cluster-ca")
	old, err := testcerts.NewAuthority("old-ca", testcerts.Expired)
	check(t, err)
	narrow, err := ca.Intermediate("narrow-ca", testcerts.ServerAuthOnly)
	check(t, err)
	last, err := ca.Intermediate("last-ca", func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })
	check(t, err)
	tooMany, err := last.Intermediate("one-too-many-ca")
	check(t, err)
	for _, test := range []struct {
		name   string
		signer *testcerts.Authority
		mutate []testcerts.Mutate
		want   []string
	}{
		{"unknown CA, expired, serving usage", authority(t, "unknown-ca"),
			[]testcerts.Mutate{testcerts.Expired, testcerts.ServerAuthOnly},
			[]string{`signed by the CA "unknown-ca", but clientCAFile contains "cluster-ca"`,
				`the client certificate "kubelet-client" expired at`,
				`the extended key usage of the client certificate "kubelet-client" is serverAuth, without clientAuth`}},
		{"CA with the same name and another key", other, nil,
			[]string{`signed by a CA named "cluster-ca" with another key`}},
		{"expired, CA expired too", old, []testcerts.Mutate{testcerts.Expired},
			[]string{`the client certificate "kubelet-client" expired at`, `its root CA "old-ca" (in clientCAFile) ` +
				`expired at`}},
		{"CA without the usage", narrow, nil,
			[]string{`the extended key usage of its intermediate CA "narrow-ca" (certificate 2 in the client's file) ` +
				`is serverAuth`}},
		{"too many CAs, older than its CA", tooMany,
			[]testcerts.Mutate{testcerts.ValidFor(time.Now().AddDate(-1, 0, 0), time.Now().Add(time.Hour))},
			[]string{`its intermediate CA "last-ca" (certificate 3 in the client's file) has the path length ` +
				`constraint 0, ` +
				`so it allows no intermediate CA below it, but there are 1: "one-too-many-ca"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			pair, err := test.signer.Client("kubelet-client", nil, test.mutate...)
			check(t, err)
			roots := []*x509.Certificate{ca.Cert}
			if test.signer == old {
				roots = append(roots, old.Cert)
			}
			problems := clientCertificateProblems(parse(t, pair), roots, time.Now())
			if len(problems) != len(test.want) {
				t.Fatalf("%d problems, want %d: %+v", len(problems), len(test.want), problems)
			}
			for i, want := range test.want {
				if !strings.Contains(problems[i].Message, want) {
					t.Errorf("message %q of the problem does not contain %q", problems[i].Message, want)
				}
			}
		})
	}
}

func TestHarmlessProblems(t *testing.T) {
	ca := authority(t, "cluster-ca")
	for _, test := range []struct {
		commonName string
		groups     []string
		want       string
	}{
		{"", nil, "no common name"},
		{"system:anonymous", nil, "system:anonymous"},
		{"admin", []string{"system:masters"}, "may do everything"},
	} {
		pair, err := ca.Client(test.commonName, test.groups)
		check(t, err)
		problems := clientCertificateProblems(parse(t, pair), []*x509.Certificate{ca.Cert}, time.Now())
		if len(problems) != 1 || !problems[0].Harmless || !strings.Contains(problems[0].Message, test.want) {
			t.Errorf("common name %q, groups %q: problems %+v, want one harmless problem with %q",
				test.commonName, test.groups, problems, test.want)
		}
	}
}

func problemsOf(serving bool, presented []*x509.Certificate, ca *testcerts.Authority, now time.Time) []problem {
	roots := []*x509.Certificate{ca.Cert}
	if serving {
		return servingCertificateProblems(presented, roots, host, now)
	}
	return clientCertificateProblems(presented, roots, now)
}

// accept verifies a client certificate as a kubelet does, or a serving certificate as a kube-apiserver does. It returns
// the error of the verification.
func accept(serving bool, presented []*x509.Certificate, ca *testcerts.Authority, now time.Time) error {
	options := x509.VerifyOptions{Roots: ca.Pool(), Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if serving {
		options.KeyUsages, options.DNSName = nil, host
	}
	for _, c := range presented[1:] {
		options.Intermediates.AddCert(c)
	}
	_, err := presented[0].Verify(options)
	return err
}

func authority(t testing.TB, name string) *testcerts.Authority {
	t.Helper()
	ca, err := testcerts.NewAuthority(name)
	check(t, err)
	return ca
}

func mint(t testing.TB, kind testcerts.Kind, ca *testcerts.Authority) []*x509.Certificate {
	t.Helper()
	pair, err := kind.Mint(ca,
		testcerts.Request{CommonName: "kubelet-client",
			Hosts: []string{host}[:map[bool]int{true: 0, false: 1}[kind.Name == "server-kubelet-default"]]})
	check(t, err)
	return parse(t, pair)
}

func parse(t testing.TB, pair *testcerts.Pair) []*x509.Certificate {
	t.Helper()
	var all []*x509.Certificate
	for _, der := range pair.TLS().Certificate {
		c, err := x509.ParseCertificate(der)
		check(t, err)
		all = append(all, c)
	}
	return all
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
