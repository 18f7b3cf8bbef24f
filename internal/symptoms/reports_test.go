package symptoms

import (
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestPublicReports checks the diagnosis of errors from public reports.
func TestPublicReports(t *testing.T) {
	var reports []struct{ Text, Source, First, Caller, Callee string }
	readTestdata(t, "reports.yaml", &reports)
	const atLeast = 150
	if len(reports) < atLeast {
		t.Errorf("%d reports, want at least %d", len(reports), atLeast)
	}
	for _, report := range reports {
		d := Diagnose(report.Text)
		if len(d.Findings) == 0 {
			t.Errorf("%q (%s) is not recognized, want %s", report.Text, report.Source, report.First)
			continue
		}
		first := d.Findings[0]
		if first.ID != report.First {
			t.Errorf("%q (%s): the first finding is %s, want %s", report.Text, report.Source, first.ID, report.First)
		}
		if first.Facts.Caller != report.Caller || first.Facts.Callee != report.Callee {
			t.Errorf("%q (%s): an error between %q and %q, want %q and %q", report.Text, report.Source,
				first.Facts.Caller, first.Facts.Callee, report.Caller, report.Callee)
		}
	}
}

// TestVariants checks the diagnosis of errors in several wordings and of several programs, and words of the output.
func TestVariants(t *testing.T) {
	var groups []struct {
		First                  string
		Contains, Lacks, Texts []string
	}
	readTestdata(t, "variants.yaml", &groups)
	for _, group := range groups {
		for _, text := range group.Texts {
			d := Diagnose(text)
			if len(d.Findings) == 0 || d.Findings[0].ID != group.First {
				t.Errorf("%q has the findings %+v, want %s first", text, d.Findings, group.First)
				continue
			}
			d.Findings = d.Findings[:1]
			var b strings.Builder
			check(t, d.WriteText(&b, false))
			for _, want := range group.Contains {
				if !strings.Contains(b.String(), want) {
					t.Errorf("the diagnosis of %q does not contain %q:\n%s", text, want, b.String())
				}
			}
			for _, not := range group.Lacks {
				if strings.Contains(b.String(), not) {
					t.Errorf("the diagnosis of %q contains %q:\n%s", text, not, b.String())
				}
			}
		}
	}
}

// TestSeveralErrors checks that the errors of a log are told apart and are in the order of time, and that an error which
// only follows from another one is last.
func TestSeveralErrors(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"ordered by time", `Jan 02 03:04:09 n1 kubelet[77]: E0102 03:04:09.000000      77 controller.go:146] "Failed to ensure lease exists, will retry" err="Unauthorized"
Jan 02 03:04:05 n1 kubelet[77]: E0102 03:04:05.000000      77 bootstrap.go:265] part of the existing bootstrap client certificate in /etc/kubernetes/kubelet.conf is expired: 2025-05-17 04:45:09 +0000 UTC
`, []string{"bootstrap-kubeconfig-missing", "kubelet-unauthorized"}},
		{"consequence last", `E0102 03:04:05.000000      77 kubelet.go:2448] "Error getting node" err="node \"n1\" not found"
E0102 03:04:06.000000      77 kubelet_node_status.go:92] "Unable to register node with API server" err="Post \"https://192.0.2.1:6443/api/v1/nodes\": dial tcp 192.0.2.1:6443: connect: connection refused" node="n1"
`, []string{"apiserver-refused", "node-not-found"}},
		{"repeated", strings.Repeat("error: Metrics API not available\n", 3), []string{"no-metrics"}},
		{"of several nodes", "unable to fully collect metrics: [unable to fully scrape metrics from source " +
			"kubelet_summary:a: unable to fetch metrics from Kubelet a (a): Get https://a:10250/stats/summary/: dial tcp: " +
			"lookup a on 10.96.0.10:53: no such host, unable to fully scrape metrics from source kubelet_summary:b: unable " +
			"to fetch metrics from Kubelet b (192.0.2.7): Get https://192.0.2.7:10250/stats/summary/: x509: certificate " +
			"signed by unknown authority]", []string{"no-such-host", "unknown-authority"}},
		{"a wrapped line", "Error from server: Get \"https://192.0.2.7:10250/containerLogs/default/web/web\": x509:\n" +
			"certificate signed by unknown authority", []string{"unknown-authority"}},
	} {
		var got []string
		for _, f := range Diagnose(test.text).Findings {
			got = append(got, f.ID)
		}
		if strings.Join(got, " ") != strings.Join(test.want, " ") {
			t.Errorf("%s: findings %q, want %q", test.name, got, test.want)
		}
	}
}

func readTestdata(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	check(t, err)
	check(t, yaml.UnmarshalStrict(data, into))
}
