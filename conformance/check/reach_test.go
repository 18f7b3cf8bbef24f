package check

import (
	"cmp"
	"strings"
	"testing"

	"fauxlet/conformance"
)

// TestUsual checks the verdict for several orders of address types, also if the host name of this machine resolves.
func TestUsual(t *testing.T) {
	for _, test := range []struct {
		types    string
		hostname string // the value of --node-hostname
		verdict  conformance.Verdict
		reason   string // a part
		evidence string // a part
	}{
		{types: "InternalIP,ExternalIP,Hostname", verdict: conformance.Pass, evidence: "GET 127.0.0.1:"},
		{types: "InternalIP,ExternalIP,Hostname", hostname: "localhost", verdict: conformance.Pass,
			evidence: "GET 127.0.0.1:"},
		{types: "InternalIP", verdict: conformance.Pass, evidence: "GET 127.0.0.1:"},
		// The default of kube-apiserver works if the names of all nodes are in DNS.
		{types: "Hostname,InternalDNS,InternalIP,ExternalDNS,ExternalIP", verdict: conformance.Warn,
			reason:   "kube-apiserver prefers host names; it works only if it can resolve the names of all nodes",
			evidence: "no such host"},
		{types: "Hostname,InternalDNS,InternalIP,ExternalDNS,ExternalIP", hostname: "localhost",
			verdict: conformance.Warn, reason: "kube-apiserver prefers host names",
			evidence: "then only with InternalIP=127.0.0.1"},
		{types: "Hostname", verdict: conformance.Fail, reason: "never dials the InternalIP",
			evidence: "no preferred addresses found"},
		{types: "Hostname,ExternalIP", hostname: "localhost", verdict: conformance.Fail, reason: "never dials the InternalIP",
			evidence: "no preferred addresses found"},
		{types: "ExternalIP", verdict: conformance.Fail,
			reason:   "never dials the InternalIP",
			evidence: "no preferred addresses found"},
	} {
		t.Run(test.types+" "+cmp.Or(test.hostname, "unknown"), func(t *testing.T) {
			t.Parallel()
			r := startAPIServer(t, withAddressTypes+test.types)
			r.options.NodeHostname = test.hostname
			checks, err := Select(Checks(), []string{"reach.usual"})
			must(t, err)
			check := checks[len(checks)-1]
			f := &finding{flag: check.Flag, remedy: check.remedy}
			got := f.result(check.run(t.Context(), r, f))
			evidence := strings.Join(got.Evidence, "\n")
			if check.ID != "reach.usual" || got.Verdict != test.verdict || !strings.Contains(got.Reason, test.reason) ||
				!strings.Contains(evidence, test.evidence) {
				t.Errorf("%s %s: %s\n%s", check.ID, got.Verdict, got.Reason, evidence)
			}
			if (got.Remedy == "") != (test.verdict == conformance.Pass) {
				t.Errorf("%s has the remedy %q", got.Verdict, got.Remedy)
			}
		})
	}
}
