package conformance_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"

	"fauxlet/conformance"
)

// example returns a report that contains every verdict and an incomplete result.
func example() *conformance.Report {
	return &conformance.Report{
		Tool: "fauxlet test", Target: "https://192.0.2.1:6443", TargetVersion: "v1.37.2",
		Started: time.Date(
			2026,
			11,
			24,
			12,
			0,
			0,
			0,
			time.FixedZone("", 3600),
		), Duration: conformance.Seconds(2345 * time.Millisecond),
		Results: []conformance.Result{
			{
				ID:       "reach.dialled",
				Title:    "nodes are dialed",
				Verdict:  conformance.Pass,
				Evidence: []string{"listened on 192.0.2.7:1"},
				Flag:     "--node-ip",
				Duration: conformance.Seconds(time.Millisecond),
			},
			{
				ID:       "client.presented",
				Title:    "a certificate is presented",
				Verdict:  conformance.Fail,
				Reason:   "none is presented",
				Evidence: []string{"presented: none", "answered: <401> & \x00\x1b[31mred"},
				Flag:     "--kubelet-client-certificate",
				Remedy:   "--kubelet-client-certificate=a.crt\n--kubelet-client-key=a.key",
			},
			{
				ID:       "client.valid",
				Title:    "it is valid",
				Verdict:  conformance.Skipped,
				Reason:   "needs client.presented, which did not pass",
				Needs:    "client.presented",
				Evidence: []string{},
			},
			{
				ID:       "serving.verified",
				Title:    "bad ones are refused",
				Verdict:  conformance.Warn,
				Reason:   "insecure",
				Evidence: []string{"accepted: all"},
				Flag:     "--kubelet-certificate-authority",
				Remedy:   "--kubelet-certificate-authority=ca.crt",
			},
			{
				ID:         "tls.sni",
				Title:      "a name is sent",
				Verdict:    conformance.Skipped,
				Reason:     "did not complete: no response",
				Evidence:   []string{},
				Incomplete: true,
			},
		},
		NotRemoved: []string{"node fauxlet-check-a-b"},
	}
}

func write(t *testing.T, r *conformance.Report, format string) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b, format); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTable(t *testing.T) {
	want := `nodes are dialed: pass (reach.dialled)

1 skipped: client.presented did not pass
  (client.valid)
1 skipped: did not complete: no response
  (tls.sni)

bad ones are refused: WARN
  check:   serving.verified
  problem: insecure
  found:   accepted: all
  flag:    --kubelet-certificate-authority
  remedy:  --kubelet-certificate-authority=ca.crt

a certificate is presented: FAIL
  check:   client.presented
  problem: none is presented
  found:   presented: none
           answered: <401> & \x00\x1b[31mred
  flag:    --kubelet-client-certificate
  remedy:  --kubelet-client-certificate=a.crt
           --kubelet-client-key=a.key

https://192.0.2.1:6443 in 2.3s: 1 passed, 1 failed, 1 warned, 2 skipped (1 of
  them undecided)
not removed: node fauxlet-check-a-b (the next run removes it)
`
	if diff := cmp.Diff(want, write(t, example(), "table")); diff != "" {
		t.Errorf("wrong table (-want +got):\n%s", diff)
	}
}

// TestTableSkipped checks that checks which were skipped for one reason are one paragraph, also those that need one of
// them, and that the largest paragraph is the last.
func TestTableSkipped(t *testing.T) {
	report := &conformance.Report{Target: "https://192.0.2.1:6443"}
	add := func(id, reason, needs string, notApplicable bool) {
		report.Results = append(report.Results, conformance.Result{ID: id, Title: id, Verdict: conformance.Skipped,
			Reason: reason, Needs: needs, NotApplicable: notApplicable})
	}
	const noCA = "kube-apiserver verifies serving certificates, and no CA was given; give it with --serving-ca-file " +
		"and --serving-ca-key-file"
	add("serving.accepted", noCA, "", false)
	add("streams.exec", noCA, "", false)
	add("streams.attach", noCA, "", false)
	add("after.reuse", "needs streams.exec, which did not pass", "streams.exec", false)
	add("reach.ipv6", "no --node-ip is an IPv6 address", "", true)
	want := `
1 not applicable: no --node-ip is an IPv6 address
  (reach.ipv6)
4 skipped: kube-apiserver verifies serving certificates, and no CA was given
  give it with --serving-ca-file and --serving-ca-key-file
  (1 of serving, 2 of streams, 1 of after)

https://192.0.2.1:6443 in 0s: 0 passed, 0 failed, 0 warned, 5 skipped (4 of
  them undecided)
`
	if diff := cmp.Diff(want, write(t, report, "table")); diff != "" {
		t.Errorf("wrong table (-want +got):\n%s", diff)
	}
}

// TestTableRemedy checks that a shell reads a long remedy as it would read the same remedy in one line, and that no
// line is wider than 80 columns.
func TestTableRemedy(t *testing.T) {
	for _, remedy := range []string{
		"echo create clusterrolebinding kubelet-client --clusterrole=system:kubelet-api-admin --user=kubelet-client",
		"echo --user='a # b' --user='it'\\''s  one' \"c # d\" e\\ f ü ü ü ü ü # a comment that is long enough for " +
			"two lines of text, and 'has' quotes; it must not be run",
		"echo a-word-1 a-word-2 a-word-3 a-word-4 a-word-5 a-word-6 a-word-7 a-word-8 a-word-9 a#b | tr a b # comment",
	} {
		report := &conformance.Report{Results: []conformance.Result{{ID: "g.a", Title: "a", Verdict: conformance.Fail,
			Reason: "why", Remedy: remedy}}}
		table := write(t, report, "table")
		_, lines, _ := strings.Cut(table, "  remedy:  ")
		lines, _, _ = strings.Cut(lines, "\n\n")
		for _, line := range strings.Split(table, "\n") {
			if utf8.RuneCountInString(line) > 80 {
				t.Errorf("the line has more than 80 characters: %s", line)
			}
		}
		shell := func(script string) string {
			out, err := exec.Command("sh", "-c", script).CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s\n%s", err, out, script)
			}
			return string(out)
		}
		if got, want := shell(lines), shell(remedy); got != want {
			t.Errorf("the shell prints %q, want %q:\n%s", got, want, lines)
		}
	}
}

// schemaError validates a report against the schema.
func schemaError(t *testing.T, document any) error {
	t.Helper()
	text, err := os.ReadFile("report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema spec.Schema
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	return validate.NewSchemaValidator(&schema, nil, "", strfmt.Default).Validate(document).AsError()
}

func TestJSON(t *testing.T) {
	text := write(t, example(), "json")
	var document any
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	if err := schemaError(t, document); err != nil {
		t.Errorf("the JSON report does not match the schema: %v\n%s", err, text)
	}
	var read conformance.Report
	if err := json.Unmarshal([]byte(text), &read); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text, write(t, &read, "json")); diff != "" {
		t.Errorf("decoding and encoding changes the report: %s", diff)
	}
	if !strings.Contains(text, `"answered: <401> & `) {
		t.Errorf("HTML characters are escaped: %s", text)
	}

	for name, modify := range map[string]func(report, result map[string]any){
		"no results":                 func(report, _ map[string]any) { delete(report, "results") },
		"another field":              func(_, result map[string]any) { result["extra"] = 1 },
		"another verdict":            func(_, result map[string]any) { result["verdict"] = "maybe" },
		"no id":                      func(_, result map[string]any) { delete(result, "id") },
		"an id without a group":      func(_, result map[string]any) { result["id"] = "presented" },
		"evidence of one line":       func(_, result map[string]any) { result["evidence"] = "x" },
		"no evidence":                func(_, result map[string]any) { delete(result, "evidence") },
		"a failure without a reason": func(_, result map[string]any) { delete(result, "reason") },
		"a failure without a remedy": func(_, result map[string]any) {
			delete(result, "remedy")
		},
		"a pass with a reason": func(_, result map[string]any) {
			result["verdict"] = "pass"
			delete(result, "remedy")
		},
		"a skipped check without a reason": func(_, result map[string]any) {
			result["verdict"] = "skipped"
			delete(result, "reason")
		},
		"a failure that needs another check": func(_, result map[string]any) { result["needs"] = "g.a" },
		"a failure that is not applicable":   func(_, result map[string]any) { result["notApplicable"] = true },
		"a failure that is incomplete":       func(_, result map[string]any) { result["incomplete"] = true },
		"a time of day":                      func(report, _ map[string]any) { report["started"] = "12:00" },
		"a negative duration":                func(_, result map[string]any) { result["durationSeconds"] = -1 },
	} {
		var document map[string]any
		if err := json.Unmarshal([]byte(text), &document); err != nil {
			t.Fatal(err)
		}
		modify(document, document["results"].([]any)[1].(map[string]any))
		if schemaError(t, document) == nil {
			t.Errorf("the schema accepts an invalid report: %s", name)
		}
	}
}

// TestUndecided checks which results count as undecided.
func TestUndecided(t *testing.T) {
	fail := conformance.Result{ID: "g.fail", Verdict: conformance.Fail}
	skipped := conformance.Result{ID: "g.skipped", Verdict: conformance.Skipped}
	skippedBy := func(id, needs string) conformance.Result {
		return conformance.Result{ID: id, Verdict: conformance.Skipped, Needs: needs}
	}
	for _, test := range []struct {
		name    string
		results []conformance.Result
		want    int
	}{
		{name: "passed and warned", want: 0, results: []conformance.Result{{Verdict: conformance.Pass},
			{Verdict: conformance.Warn}}},
		{name: "not applicable", want: 0, results: []conformance.Result{{Verdict: conformance.Skipped,
			NotApplicable: true}}},
		{name: "skipped", want: 1, results: []conformance.Result{skipped}},
		{name: "because of a failure", want: 0, results: []conformance.Result{fail, skippedBy("g.a", "g.fail"),
			skippedBy("g.b", "g.a")}},
		{name: "because of a skipped check", want: 3, results: []conformance.Result{skipped,
			skippedBy("g.a", "g.skipped"), skippedBy("g.b", "g.a")}},
		{name: "because of a check that was not run", want: 1, results: []conformance.Result{skippedBy("g.a", "g.x")}},
		{name: "in a circle", want: 2, results: []conformance.Result{skippedBy("g.a", "g.b"),
			skippedBy("g.b", "g.a")}},
	} {
		if got := (&conformance.Report{Results: test.results}).Undecided(); got != test.want {
			t.Errorf("%s: %d undecided, want %d", test.name, got, test.want)
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	if err := example().Write(&bytes.Buffer{}, "yaml"); err == nil ||
		err.Error() != `unknown format "yaml"; use one of table, json, junit` {
		t.Errorf("Write returned the wrong error for an unknown format: %v", err)
	}
}
