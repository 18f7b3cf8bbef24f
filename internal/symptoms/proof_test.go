package symptoms

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// These constants name the tests that reproduce errors. They are the possible values of Entry.Proof.
const (
	// ofGo reproduces errors between a Go client and a Go server, because kube-apiserver, kubelets and scrapers are
	// written in Go.
	ofGo = "internal/symptoms TestErrorsOfGo"
	// ofKubelets reproduces errors in the responses and in the log of a stand-in kubelet.
	ofKubelets = "internal/symptoms TestErrorsOfKubelets"
	// ofKubectl reproduces errors in the output of kubectl, with a kube-apiserver and a stand-in kubelet.
	ofKubectl = "e2e/cluster TestKubectlErrorsAreRecognized"
	// ofFaults reproduces errors in the output of kubectl, with a fault injected into a stand-in kubelet.
	// docs/faults.md quotes these errors.
	ofFaults = "e2e/cluster TestKubectlErrorsOfFaults"
)

// reproduction is one way to cause an error. The function "reproduce" causes the error and returns its text.
type reproduction struct {
	// id is the ID of the symptom that Diagnose must find.
	id string
	// variant is the name of the reproduction. It is needed only if the symptom has several reproductions.
	variant string
	// The field "values" has the variable parts of the error that Diagnose must find.
	values    map[string]string
	reproduce func(*testing.T) string
}

// prove runs the reproductions, and checks that Diagnose finds the expected symptom, and no other, in each error. It
// also checks that every symptom with the given Proof has a reproduction.
func prove(t *testing.T, proof string, reproductions []reproduction) {
	proved := map[string]bool{}
	for _, r := range reproductions {
		proved[r.id] = true
		t.Run(strings.TrimSuffix(r.id+"/"+r.variant, "/"), func(t *testing.T) {
			text := r.reproduce(t)
			d := Diagnose(text)
			if len(d.Findings) != 1 || d.Findings[0].ID != r.id {
				var ids []string
				for _, f := range d.Findings {
					ids = append(ids, f.ID)
				}
				t.Fatalf("%q is recognized as %q, want %s", text, ids, r.id)
			}
			for name, value := range r.values {
				if d.Findings[0].Values[name] != value {
					t.Errorf("%q: the value of {%s} is %q, want %q", text, name, d.Findings[0].Values[name], value)
				}
			}
		})
	}
	for _, s := range Table() {
		if s.Proof == proof && !proved[s.ID] {
			t.Errorf("%s: no test reproduces the symptom", s.ID)
		}
	}
}

// TestErrorsOfFaults checks that Diagnose recognizes every error in docs/faults.md. Other tests prove that kubectl
// prints these errors.
func TestErrorsOfFaults(t *testing.T) {
	const path = "../../docs/faults.md"
	page, err := os.ReadFile(path)
	check(t, err)
	var reproductions []reproduction
	for _, cell := range regexp.MustCompile("`[Ee]rror[ :][^`]*`").FindAllString(string(page), -1) {
		text := strings.NewReplacer("`", "", "NODE:", "192.0.2.7:", "not …", "not node-1", "after …",
			"after 2026-01-01T00:00:00Z").Replace(cell)
		d := Diagnose(text)
		if len(d.Findings) != 1 {
			t.Errorf("%s: the error %q has the findings %+v, want exactly one", path, text, d.Findings)
			continue
		}
		reproductions = append(reproductions,
			reproduction{id: d.Findings[0].ID, variant: text, reproduce: func(*testing.T) string { return text }})
	}
	prove(t, ofFaults, reproductions)
}

// TestPublicReports checks that Diagnose recognizes errors from public reports, and the programs that printed them. The
// addresses and names in the reports are changed.
func TestPublicReports(t *testing.T) {
	for _, test := range []struct{ text, source, id string }{
		{`Error from server: Get https://192.0.2.143:10250/containerLogs/tyd/redis-master-wtc0v/master: x509: ` +
			`certificate signed by unknown authority`, "kubectl", "unknown-authority"},
		{`I0603 13:27:54.117700   30535 logs.go:49] http: TLS handshake error from 192.0.2.253:37540: remote error: ` +
			`tls: bad certificate`, "a kubelet", "bad-certificate"},
		{`E0511 21:57:06.607078       1 scraper.go:140] "Failed to scrape node" err="Get ` +
			`\"https://192.0.2.181:10250/metrics/resource\": x509: cannot validate certificate for 192.0.2.181 ` +
			`because it doesn't contain any IP SANs" node="node-79"`, "metrics-server", "no-ip-sans"},
		{`Dec 11 14:22:30 kube-3 kubelet: I1211 14:22:30.440352    1355 logs.go:41] http: TLS handshake error from ` +
			`192.0.2.234:37000: no certificate available`, "a kubelet", "no-serving-certificate"},
		{`E1211 19:22:30.440408       1 status.go:62] apiserver received an error that is not an metav1.Status: Get ` +
			`https://192.0.2.234:10250/containerLogs/kube-system/kube-proxy-l2f9s/kube-proxy: remote error: tls: ` +
			`internal error`, "kube-apiserver", "internal-error"},
		{`Error from server: error dialing backend: x509: certificate is valid for system:node:worker1, not worker1`,
			"kubectl exec, attach, port-forward", "wrong-name"},
		{`Error from server: error dialing backend: dial tcp 192.0.2.123:10250: i/o timeout`,
			"kubectl exec, attach, port-forward", "timeout"},
		{`Error from server: error dialing backend: dial tcp 192.0.2.14:10250: getsockopt: no route to host`,
			"kubectl exec, attach, port-forward", "no-route"},
		{`Error from server: error dialing backend: dial tcp 192.0.2.1:10250: getsockopt: connection timed out`,
			"kubectl exec, attach, port-forward", "timeout"},
		{`error: unable to upgrade connection: Unauthorized`, "kubectl", "upgrade-unauthorized"},
		{`error: unable to upgrade connection: Forbidden (user=kubernetes, verb=create, resource=nodes, ` +
			`subresource=proxy)`, "kubectl", "forbidden"},
		{`Error from server (Forbidden): Forbidden (user=kube-apiserver-kubelet-client, verb=get, resource=nodes, ` +
			`subresource=proxy) ( pods/log kube-controller-manager-uy08-07)`, "kubectl", "forbidden"},
		{`Error from server (Forbidden): Forbidden (user=system:anonymous, verb=get, resource=nodes, ` +
			`subresource=proxy)`, "kubectl", "forbidden-anonymous"},
		{`unable to fully scrape metrics from source kubelet_summary:k8s-1: unable to fetch metrics from Kubelet ` +
			`k8s-1 (192.0.2.14): request failed - "401 Unauthorized", response: "Unauthorized"`,
			"metrics-server", "scraper-unauthorized"},
		{`request failed - "403 Forbidden", response: "Forbidden ` +
			`(user=system:serviceaccount:kube-system:metrics-server, verb=get, resource=nodes, subresource=stats)"`,
			"", "forbidden-service-account"},
		{`Error from server: Get "https://192.0.2.251:10250/containerLogs/test/test-5db84856b-p84l2/nginx": Forbidden`,
			"kubectl", "proxy-refuses"},
		{`server returned HTTP status 403 Forbidden`, "Prometheus", "scraper-forbidden"},
		{`Unable to connect to the server: x509: certificate signed by unknown authority`, "",
			"kubectl-cannot-connect"},
		{`Error from server (Forbidden): pods "slack-event-log-77965d767d-4bkql" is forbidden: User ` +
			`"user@example.com" cannot get resource "pods/log" in API group "" in the namespace "slack-infra": ` +
			`Required "container.pods.getLogs" permission.`, "kubectl", "kubectl-forbidden"},
		{`error: Metrics API not available`, "kubectl", "no-metrics"},
	} {
		d := Diagnose(test.text)
		if len(d.Findings) == 0 || d.Findings[0].ID != test.id &&
			!slices.ContainsFunc(d.Findings, func(f Finding) bool { return f.ID == test.id }) {
			t.Errorf("%q is recognized as %+v, want %s", test.text, d.Findings, test.id)
		}
		if len(d.Findings) > 2 {
			t.Errorf("%q has %d findings, want at most 2", test.text, len(d.Findings))
		}
		if test.source != "" && !slices.ContainsFunc(d.Sources, func(s Source) bool { return s.Name == test.source }) {
			t.Errorf("the sources of %q are %+v, want %s", test.text, d.Sources, test.source)
		}
	}
}
