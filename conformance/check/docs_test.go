package check

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"fauxlet/conformance"
)

var update = flag.Bool("update", false, "write docs/checks.md from the table")

// groups has a one-line description of each group of checks.
var groups = map[string]string{
	"reach":   "Which addresses and ports does kube-apiserver connect to?",
	"client":  "Which client certificate does kube-apiserver present?",
	"rights":  "Which permissions does the user of that certificate have?",
	"serving": "Does kube-apiserver verify kubelets?",
	"tls":     "Which TLS parameters does kube-apiserver offer to kubelets?",
	"streams": "Do logs and streams arrive completely and without delay, and which errors does the user get?",
	"hostile": "What can a hostile kubelet do to kube-apiserver and its users? The check runs a kubelet that " +
		"misbehaves. Attacks that a kube-apiserver cannot detect, such as the log of another pod, are out of scope.",
	"after": "Which connections stay open afterwards?",
	"approver": "Does the program that approves certificate requests of kubelets approve only correct ones? These " +
		"checks run only with `--only approver`, because they create CertificateSigningRequests.",
}

// TestDocs compares docs/checks.md with the table of checks.
func TestDocs(t *testing.T) {
	var b strings.Builder
	b.WriteString(
		"# The checks of `fauxlet check`\n\nThis page lists all checks and what a pass proves. A check is skipped " +
			"if a check that it needs did not pass. " +
			"[check.md](check.md) explains how to run them.\n\n" +
			"This page is generated from the table in the code: `go test ./conformance/check -run TestDocs -update`.\n",
	)
	group := ""
	for _, c := range Checks() {
		if name, _, _ := strings.Cut(c.ID, "."); name != group {
			group = name
			if groups[group] == "" {
				t.Errorf("the group %q has no description", group)
			}
			fmt.Fprintf(
				&b,
				"\n## %s\n\n%s\n\n| id | about | needs | passes when | proves |\n|---|---|---|---|---|\n",
				group,
				groups[group],
			)
		}
		about := ""
		if c.Flag != "" {
			about = "`" + c.Flag + "`"
		}
		needs := make([]string, len(c.Needs))
		for i, need := range c.Needs {
			needs[i] = "`" + need + "`"
		}
		proves := c.Proves
		if c.Since != "" {
			proves += " It does not apply to a kube-apiserver before " + c.Since + "."
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", c.ID, about, strings.Join(needs, ", "), c.Title, proves)
	}
	const path = "../../docs/checks.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(got)); diff != "" {
		t.Errorf("docs/checks.md is out of date; run this test with -update:\n%s", diff)
	}
}

// TestWidth checks that the report for people is at most 80 columns wide, and that the remedies keep their commands.
func TestWidth(t *testing.T) {
	report := &conformance.Report{Target: "https://192.0.2.1:6443"}
	for _, c := range Checks() {
		report.Results = append(report.Results,
			conformance.Result{ID: c.ID, Title: c.Title, Verdict: conformance.Pass},
			conformance.Result{ID: c.ID, Title: c.Title, Verdict: conformance.Fail, Reason: c.Proves, Flag: c.Flag,
				Evidence: []string{c.Proves}, Remedy: c.remedy},
			conformance.Result{ID: c.ID, Title: c.Title, Verdict: conformance.Skipped, Reason: c.Proves})
	}
	var b strings.Builder
	if err := report.Write(&b, "table"); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		// A single word may be longer, because a command with a broken word could not be pasted.
		if utf8.RuneCountInString(line) > len("\n")+80 && len(strings.Fields(line)) > 1 {
			t.Errorf("the line has more than 80 characters: %s", line)
		}
	}
}

// TestGuide checks that every check that docs/check.md names exists, and that the role in docs/check.md has the
// required permissions.
func TestGuide(t *testing.T) {
	guide, err := os.ReadFile("../../docs/check.md")
	if err != nil {
		t.Fatal(err)
	}
	all := ids(Checks())
	named := regexp.MustCompile("`((?:"+strings.Join(slices.Sorted(maps.Keys(groups)), "|")+")\\.[a-z0-9.-]+)`").
		FindAllStringSubmatch(string(guide), -1)
	if len(named) < 15 {
		t.Errorf("docs/check.md names only %d checks", len(named))
	}
	for _, match := range named {
		if !slices.Contains(all, match[1]) {
			t.Errorf("docs/check.md names the check %s, but no such check exists", match[1])
		}
	}

	for _, a := range slices.Concat(required, requiredToApprove, requiredForApprovers("node")) {
		for _, verb := range a.verbs {
			if !regexp.MustCompile(`resources: \[[^]]*\b` + regexp.QuoteMeta(a.resource) +
				`\b[^]]*\],.* verbs: \[[^]]*\b` + verb + `\b`).
				Match(guide) {
				t.Errorf("the role in docs/check.md does not allow to %s %s", verb, a.resource)
			}
		}
	}
}
