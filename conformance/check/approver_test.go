package check

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"

	"fauxlet/testcerts"
)

// TestApproverChecksOnRequest checks that the checks of CSR approvers run only if the whole name of the group or an ID
// is selected.
func TestApproverChecksOnRequest(t *testing.T) {
	all := Checks()
	for _, test := range []struct {
		only []string
		want int
	}{
		{nil, 0},
		{[]string{"a"}, 0}, // also selects the group after
		{[]string{"reach", "after"}, 0},
		{[]string{"approver"}, len(approverTrials)},
		{[]string{"approver."}, len(approverTrials)},
		{[]string{"approver.email"}, 1},
		{[]string{"client", "approver.uri"}, 1},
	} {
		selected, err := Select(all, test.only)
		must(t, err)
		n := 0
		for _, c := range selected {
			if c.group() == approverGroup {
				n++
			}
		}
		if n != test.want {
			t.Errorf("--only %q selects %d checks of CSR approvers, want %d", test.only, n, test.want)
		}
	}
	selected, err := Select(all, []string{approverGroup})
	must(t, err)
	if len(selected) != len(approverTrials) {
		t.Errorf("--only approver also selects other checks: %q", ids(selected))
	}
}

// TestApproverRequests checks that each request that must not be approved differs from the correct one in exactly one
// field.
func TestApproverRequests(t *testing.T) {
	r := registering(t)
	// fields returns the fields in which two requests differ.
	fields := func(a, b *certificateRequest) (names []string) {
		compare := func(name string, a, b any) {
			if !reflect.DeepEqual(a, b) {
				names = append(names, name)
			}
		}
		compare("common name", a.Subject.CommonName, b.Subject.CommonName)
		compare("organization", a.Subject.Organization, b.Subject.Organization)
		compare("DNS names", a.DNSNames, b.DNSNames)
		compare("IP addresses", a.IPAddresses, b.IPAddresses)
		compare("e-mail addresses", a.EmailAddresses, b.EmailAddresses)
		compare("URIs", a.URIs, b.URIs)
		compare("usages", a.usages, b.usages)
		compare("signer", a.signer, b.signer)
		compare("requester", a.asOperator, b.asOperator)
		return names
	}
	want := map[string]string{"correct": "[]", "other-node": "[common name]", "foreign-address": "[IP addresses]",
		"foreign-name": "[DNS names]", "apiserver-name": "[DNS names]", "email": "[e-mail addresses]", "uri": "[URIs]",
		"usages": "[usages]", "organization": "[organization]", "requester": "[requester]", "signer": "[signer]"}
	if len(want) != len(approverTrials) {
		t.Errorf("%d requests, want %d", len(approverTrials), len(want))
	}
	correct, keys := r.requestFor(approverTrials[0]), []*ecdsa.PublicKey{}
	for _, trial := range approverTrials {
		c := r.requestFor(trial)
		if got := fmt.Sprint(fields(correct, c)); got != want[trial.name] {
			t.Errorf("%s differs from the correct request in %s, want %s", trial.name, got, want[trial.name])
		}
		text, err := c.sign()
		must(t, err)
		block, rest := pem.Decode(text)
		if block == nil || block.Type != "CERTIFICATE REQUEST" || len(rest) > 0 {
			t.Fatalf("%s: not one PEM block of a request: %s", trial.name, text)
		}
		parsed, err := x509.ParseCertificateRequest(block.Bytes)
		must(t, err)
		must(t, parsed.CheckSignature())
		sent := &certificateRequest{*parsed, c.signer, c.usages, c.asOperator}
		if got := fmt.Sprint(fields(c, sent)); got != "[]" {
			t.Errorf("%s: the signed request differs in %s", trial.name, got)
		}
		key := parsed.PublicKey.(*ecdsa.PublicKey)
		if !key.Equal(c.PublicKey) || slices.ContainsFunc(keys, func(k *ecdsa.PublicKey) bool { return k.Equal(key) }) {
			t.Errorf("%s: the key is not new", trial.name)
		}
		keys = append(keys, key)
	}
}

// withConditions returns the answer to a request with conditions of the given types, and a certificate.
func withConditions(
	c *certificateRequest, certificate []byte, types ...certificatesv1.RequestConditionType,
) *approverAnswer {
	object := &certificatesv1.CertificateSigningRequest{}
	for _, t := range types {
		object.Status.Conditions = append(object.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
			Type: t, Status: v1.ConditionTrue, Reason: "Because", Message: "of a rule"})
	}
	object.Status.Certificate = certificate
	return &approverAnswer{content: c, object: object}
}

// TestApproverVerdicts checks the verdict for each possible answer to a request.
func TestApproverVerdicts(t *testing.T) {
	const (
		approved = certificatesv1.CertificateApproved
		denied   = certificatesv1.CertificateDenied
		failed   = certificatesv1.CertificateFailed
	)
	r := registering(t)
	content := r.requestFor(approverTrials[0])
	refused := &approverAnswer{content: content, refused: errors.New("csr is forbidden")}
	deleted := &approverAnswer{content: content, incomplete: errors.New("it was deleted")}
	untouched := withConditions(content, nil)
	for _, test := range []struct {
		name           string
		correct, other *approverAnswer
		issuedToOther  string
		// The wanted verdicts and reasons. A reason may be only a part.
		wantCorrect, wantOther, reasonCorrect, reasonOther string
	}{
		{name: "no approver", correct: untouched, other: untouched,
			wantCorrect: "warn", reasonCorrect: "no approver answered within 20s",
			wantOther: "not applicable", reasonOther: "no approver answered a request within 20s"},
		{name: "refused by kube-apiserver, and no approver", correct: untouched, other: refused,
			wantCorrect: "warn", wantOther: "pass"},
		{name: "the correct one is ignored", correct: untouched, other: withConditions(content, nil, denied),
			wantCorrect: "fail", reasonCorrect: "was not approved within 20s, although others were answered",
			wantOther: "pass"},
		{name: "both are denied", correct: withConditions(content, nil, denied),
			other:       withConditions(content, nil, denied),
			wantCorrect: "fail", reasonCorrect: "was denied: Because: of a rule", wantOther: "pass"},
		{name: "the other one is ignored", correct: withConditions(content, nil, denied), other: untouched,
			wantCorrect: "fail", wantOther: "pass"},
		{name: "both are approved, without a signer", correct: withConditions(content, nil, approved),
			other:       withConditions(content, nil, approved),
			wantCorrect: "fail", reasonCorrect: "approved, but no certificate was issued",
			wantOther: "fail", reasonOther: "the request was approved: a node can get"},
		{name: "both are approved, and the signer knows only other nodes", correct: withConditions(content, nil, approved),
			other: withConditions(content, nil, approved), issuedToOther: "csr-1", wantCorrect: "warn",
			reasonCorrect: "the signer issues serving certificates for other nodes, but not for the check's node",
			wantOther:     "fail", reasonOther: "the request was approved: a node can get"},
		{name: "both are approved, and the signer refuses only these", issuedToOther: "csr-1",
			correct: withConditions(content, nil, approved, failed),
			other:   withConditions(content, nil, approved, failed), wantCorrect: "warn",
			reasonCorrect: "for other nodes, but not for the check's node", wantOther: "fail"},
		{name: "both are approved, and the signer refuses", correct: withConditions(content, nil, approved, failed),
			other:       withConditions(content, nil, approved, failed),
			wantCorrect: "fail", reasonCorrect: "the signer refused it: Because: of a rule", wantOther: "fail"},
		{name: "the certificate is not PEM", correct: withConditions(content, []byte("x"), approved),
			other: untouched, wantCorrect: "fail", reasonCorrect: "issued no valid certificate", wantOther: "pass"},
		{name: "both were deleted", correct: deleted, other: deleted,
			wantCorrect: "incomplete", reasonCorrect: "it was deleted",
			wantOther: "incomplete", reasonOther: "it was deleted"},
	} {
		trial := approverTrials[1]
		answers := &approverAnswers{20 * time.Second, map[string]*approverAnswer{correctRequest: test.correct,
			trial.name: test.other}, test.issuedToOther}
		for _, one := range []struct {
			judge        func(*finding, *approverAnswers) error
			want, reason string
		}{{judgeCorrect, test.wantCorrect, test.reasonCorrect}, {trial.judge, test.wantOther, test.reasonOther}} {
			f := &finding{}
			result := f.result(one.judge(f, answers))
			verdict := string(result.Verdict)
			switch {
			case result.NotApplicable:
				verdict = "not applicable"
			case result.Incomplete:
				verdict = "incomplete"
			}
			if verdict != one.want || !strings.Contains(result.Reason, one.reason) {
				t.Errorf("%s: %s %q, want %s %q", test.name, verdict, result.Reason, one.want, one.reason)
			}
		}
	}
}

// TestIssuedDifferences checks which differences between a request and the issued certificate are found.
func TestIssuedDifferences(t *testing.T) {
	r := registering(t)
	c := r.requestFor(approverTrials[0])
	ca, err := testcerts.NewAuthority("ca")
	must(t, err)
	node := r.objects.NodeName(requesterNode)
	for name, test := range map[string]struct {
		hosts  []string
		mutate []testcerts.Mutate
		want   []string
	}{
		"as requested":  {hosts: []string{node, "127.0.0.1"}},
		"another order": {hosts: []string{"127.0.0.1", node}},
		"no DNS name":   {hosts: []string{"127.0.0.1"}, want: []string{`DNS names [] instead of ["` + node + `"]`}},
		"more addresses": {hosts: []string{node, "127.0.0.1", "::1"},
			want: []string{`IP addresses ["127.0.0.1" "::1"] instead of ["127.0.0.1"]`}},
		"other usages": {hosts: []string{node, "127.0.0.1"}, mutate: []testcerts.Mutate{testcerts.ClientAuthOnly},
			want: []string{`extended key usages ["clientAuth"] instead of ["serverAuth"]`}},
		"no common name": {hosts: []string{node, "127.0.0.1"}, mutate: []testcerts.Mutate{testcerts.EmptyCN},
			want: []string{`common name [""] instead of ["system:node:` + node + `"]`}},
		"a CA": {hosts: []string{node, "127.0.0.1"}, mutate: []testcerts.Mutate{func(c *x509.Certificate) {
			c.IsCA, c.BasicConstraintsValid = true, true
		}}, want: []string{"a CA's certificate"}},
	} {
		pair, err := ca.Server("", test.hosts, append([]testcerts.Mutate{testcerts.ForNode(node)}, test.mutate...)...)
		must(t, err)
		c.PublicKey = pair.Leaf.PublicKey
		got, err := c.differences(pair.CertPEM)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: %q and the error %v, want %q", name, got, err, test.want)
		}
	}
	pair, err := ca.Server("", []string{node, "127.0.0.1"}, testcerts.ForNode(node))
	must(t, err)
	if got, err := c.differences(pair.CertPEM); err != nil || !slices.Equal(got, []string{"another public key"}) {
		t.Errorf("another key: %q and the error %v", got, err)
	}
}
