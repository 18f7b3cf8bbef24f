package check

import (
	"crypto/tls"
	"strings"
	"testing"

	"fauxlet/conformance"
)

// TestServing checks the verdicts on API servers that verify nothing, the address, or the address and the node's name
// in serving certificates.
func TestServing(t *testing.T) {
	for _, test := range []struct {
		apiserver, id string
		verdict       conformance.Verdict
		notApplicable bool
		reason        string // part of the reason
	}{
		{apiserver: "", id: "serving.accepted", verdict: conformance.Pass},
		{apiserver: "", id: "serving.verified", verdict: conformance.Warn,
			reason: "does not verify serving certificates"},
		{apiserver: "", id: "serving.node-name", verdict: conformance.Skipped, notApplicable: true,
			reason: "verifies no serving certificate"},
		{apiserver: verifiesServing, id: "serving.accepted", verdict: conformance.Pass},
		{apiserver: verifiesServing, id: "serving.verified", verdict: conformance.Pass},
		{apiserver: verifiesServing, id: "serving.node-name", verdict: conformance.Skipped, notApplicable: true,
			reason: "impersonation by address is possible"},
		{apiserver: verifiesNodeNames, id: "serving.accepted", verdict: conformance.Pass},
		{apiserver: verifiesNodeNames, id: "serving.verified", verdict: conformance.Pass},
		{apiserver: verifiesNodeNames, id: "serving.node-name", verdict: conformance.Pass},
		{apiserver: losesConnections, id: "serving.accepted", verdict: conformance.Skipped,
			reason: "did not complete: kube-apiserver closed the connection, but did not refuse the certificate"},
	} {
		t.Run(test.apiserver+" "+test.id, func(t *testing.T) {
			t.Parallel()
			pairs, err := certificates()
			must(t, err)
			r := startAPIServer(t, test.apiserver)
			r.options.ServingCA = pairs.ca
			checks, err := Select(Checks(), []string{test.id})
			must(t, err)
			check := checks[len(checks)-1]
			f := &finding{}
			got := f.result(check.run(t.Context(), r, f))
			if check.ID != test.id || got.Verdict != test.verdict || got.NotApplicable != test.notApplicable ||
				!strings.Contains(got.Reason, test.reason) {
				t.Errorf("%s: %s (not applicable: %v) %s\n%s", check.ID, got.Verdict, got.NotApplicable, got.Reason,
					strings.Join(got.Evidence, "\n"))
			}
		})
	}
}

// TestSignerThatIssuesNothing checks the results of --approve-serving-certificate if the signer refuses the request of
// the check's node. If it issues certificates to other nodes, no flag of kube-controller-manager is wrong.
func TestSignerThatIssuesNothing(t *testing.T) {
	const refusal = "the cluster issued no usable serving certificate: no machine has this name"
	for _, test := range []struct {
		apiserver, id string
		verdict       conformance.Verdict
		needs         string
		reason, flag  string
		evidence      string // a part
	}{
		{apiserver: refusesToSign, id: "serving.accepted", verdict: conformance.Fail, flag: signerFlag,
			reason: refusal + "; kubelets with serverTLSBootstrap will not get a certificate either"},
		{apiserver: refusesToSign, id: "after.reuse", verdict: conformance.Skipped, needs: "serving.accepted",
			reason: "kube-apiserver accepts no available serving certificate; see serving.accepted"},
		{apiserver: signsForOthers, id: "serving.accepted", verdict: conformance.Warn,
			flag:     "signer kubernetes.io/kubelet-serving",
			reason:   "the signer issues serving certificates for other nodes, but not for the check's node",
			evidence: refusal + "\nCertificateSigningRequest csr-of-node-1 has a certificate"},
		{apiserver: signsForOthers, id: "serving.node-name", verdict: conformance.Skipped,
			reason: string(notForNodeOfCheck)},
		{apiserver: signsForOthers, id: "after.reuse", verdict: conformance.Skipped, reason: string(notForNodeOfCheck)},
	} {
		t.Run(test.apiserver+" "+test.id, func(t *testing.T) {
			t.Parallel()
			r := startAPIServer(t, test.apiserver)
			r.options.ApproveServingCertificate = true
			r.accepted = func() (*tls.Certificate, error) { return r.newAccepted(t.Context()) }
			checks, err := Select(Checks(), []string{test.id})
			must(t, err)
			check := checks[len(checks)-1]
			f := &finding{}
			got := f.result(check.run(t.Context(), r, f))
			if check.ID != test.id || got.Verdict != test.verdict || got.Needs != test.needs || got.Flag != test.flag ||
				got.NotApplicable || got.Incomplete || got.Reason != test.reason ||
				!strings.Contains(strings.Join(got.Evidence, "\n"), test.evidence) {
				t.Errorf("%s: %+v", check.ID, got)
			}
		})
	}
}
