package explain_test

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"fauxlet/internal/explain"
	"fauxlet/testcerts"
)

const host = "192.0.2.7"

// wrongWith says what is wrong with each kind of certificate that there is.
var wrongWith = map[string][]explain.ProblemID{
	"client":               nil,
	"client-intermediate":  nil,
	"client-no-usage":      nil,
	"client-no-name":       {explain.ProblemName},
	"client-expired":       {explain.ProblemExpired},
	"client-not-yet-valid": {explain.ProblemNotYetValid},
	"client-stranger":      {explain.ProblemUnknownCA},
	"client-chain-missing": {explain.ProblemUnknownCA},
	"client-server-usage":  {explain.ProblemUsage},
	"client-sha1":          {explain.ProblemWeakSignature},

	"server":                  nil,
	"server-intermediate":     nil,
	"server-kubelet-default":  {explain.ProblemSelfSigned, explain.ProblemName}, // its own CA follows it, and that one is
	"server-self-signed":      {explain.ProblemSelfSigned},
	"server-stranger":         {explain.ProblemUnknownCA},
	"server-chain-missing":    {explain.ProblemUnknownCA},
	"server-expired":          {explain.ProblemExpired},
	"server-not-yet-valid":    {explain.ProblemNotYetValid},
	"server-other-host":       {explain.ProblemName},
	"server-common-name-only": {explain.ProblemNoSAN},
	"server-client-usage":     {explain.ProblemUsage},
	"server-sha1":             {explain.ProblemWeakSignature},
}

// TestFaultsOfKinds holds what is said of each kind to what crypto/x509 makes of it: there is a fault that matters if, and
// only if, it refuses the certificate.
func TestFaultsOfKinds(t *testing.T) {
	ca := authority(t, "cluster-ca")
	now := time.Now()
	for _, kind := range testcerts.Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			presented := mint(t, kind, ca)
			faults := faultsOf(kind.Serving, presented, ca, now)
			var ids []explain.ProblemID
			refusable := false
			for _, fault := range faults {
				ids = append(ids, fault.ID)
				refusable = refusable || !fault.Harmless
			}
			want, ok := wrongWith[kind.Name]
			if !ok || !slices.Equal(ids, want) {
				t.Errorf("wrong with it: %+v, want %q", faults, want)
			}
			if err := accept(kind.Serving, presented, ca, now); (err != nil) != refusable {
				t.Errorf("crypto/x509 says %v of it, and these are its faults: %+v", err, faults)
			}
		})
	}
}

// TestFaultsHideNoOther has certificates with more than one thing wrong.
func TestFaultsHideNoOther(t *testing.T) {
	ca, other := authority(t, "cluster-ca"), authority(t, "cluster-ca")
	old, err := testcerts.NewAuthority("old-ca", testcerts.Expired)
	check(t, err)
	narrow, err := ca.Intermediate("narrow-ca", testcerts.ServerAuthOnly)
	check(t, err)
	for _, test := range []struct {
		name   string
		signer *testcerts.Authority
		mutate []testcerts.Mutate
		says   []string
	}{
		{"a stranger's, expired, for servers", authority(t, "stranger-ca"), []testcerts.Mutate{testcerts.Expired, testcerts.ServerAuthOnly},
			[]string{`signed by the CA "stranger-ca", and clientCAFile has "cluster-ca"`, "it expired at", "usage is server authentication, and client authentication is not"}},
		{"of a CA with the same name and another key", other, nil, []string{`is called "cluster-ca", as one in clientCAFile is, but with another key`}},
		{"of an expired CA, and expired itself", old, []testcerts.Mutate{testcerts.Expired}, []string{"it expired at", `the CA "old-ca" above it expired at`}},
		{"of a CA that is not for clients", narrow, nil, []string{`of the CA "narrow-ca" above it, whose usage is server authentication`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			pair, err := test.signer.Client("kubelet-client", nil, test.mutate...)
			check(t, err)
			roots := []*x509.Certificate{ca.Cert}
			if test.signer == old {
				roots = append(roots, old.Cert)
			}
			faults := explain.ClientCertificateProblems(parse(t, pair), roots, time.Now())
			if len(faults) != len(test.says) {
				t.Fatalf("%d faults, want %d: %+v", len(faults), len(test.says), faults)
			}
			for i, says := range test.says {
				if !strings.Contains(faults[i].Message, says) {
					t.Errorf("%q, want %q in it", faults[i].Message, says)
				}
			}
		})
	}
}

func TestHarmlessFaults(t *testing.T) {
	ca := authority(t, "cluster-ca")
	for _, test := range []struct {
		commonName string
		groups     []string
		says       string
	}{
		{"", nil, "no common name"},
		{"system:anonymous", nil, "system:anonymous"},
		{"admin", []string{"system:masters"}, "may do everything"},
	} {
		pair, err := ca.Client(test.commonName, test.groups)
		check(t, err)
		faults := explain.ClientCertificateProblems(parse(t, pair), []*x509.Certificate{ca.Cert}, time.Now())
		if len(faults) != 1 || !faults[0].Harmless || !strings.Contains(faults[0].Message, test.says) {
			t.Errorf("%s of %q: %+v, want %q, harmless", test.commonName, test.groups, faults, test.says)
		}
	}
}

func faultsOf(serving bool, presented []*x509.Certificate, ca *testcerts.Authority, now time.Time) []explain.Problem {
	roots := []*x509.Certificate{ca.Cert}
	if serving {
		return explain.ServingCertificateProblems(presented, roots, host, now)
	}
	return explain.ClientCertificateProblems(presented, roots, now)
}

// accept is how a kubelet and an apiserver verify.
func accept(serving bool, presented []*x509.Certificate, ca *testcerts.Authority, now time.Time) error {
	options := x509.VerifyOptions{Roots: ca.Pool(), Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
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
	pair, err := kind.Mint(ca, testcerts.Request{CommonName: "kubelet-client", Hosts: []string{host}[:map[bool]int{true: 0, false: 1}[kind.Name == "server-kubelet-default"]]})
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
