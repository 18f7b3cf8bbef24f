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

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/checks.md from the table")

// groups say in a line what the checks of each group are about.
var groups = map[string]string{
	"reach":   "Is a node dialled, and where?",
	"client":  "Who does kube-apiserver say it is?",
	"rights":  "What may that user do?",
	"serving": "Does kube-apiserver know a kubelet from somebody else?",
	"tls":     "What TLS does kube-apiserver offer kubelets?",
	"streams": "Does what is streamed come whole, at once, and to its end, and what is the user told where it does not?",
	"hostile": "What can a kubelet that misbehaves do to kube-apiserver and its users? The kubelet is ours, and answers as no kubelet does. What no apiserver can see, as a kubelet that gives the log of another pod, is not looked for.",
	"after":   "What stays open when all is done?",
}

// TestDocs holds docs/checks.md to the table.
func TestDocs(t *testing.T) {
	var b strings.Builder
	b.WriteString("# The checks of `fauxlet check`\n\nWhat each proves of a kube-apiserver when it passes. One is skipped where what it needs did not pass. " +
		"How to run them, and what to do about what they find, is in [check.md](check.md).\n\n" +
		"This page is written from the table in the code: `go test ./conformance/check -run TestDocs -update`.\n")
	group := ""
	for _, c := range Checks() {
		if name, _, _ := strings.Cut(c.ID, "."); name != group {
			group = name
			if groups[group] == "" {
				t.Errorf("the group %q is about nothing", group)
			}
			fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| id | about | needs | passes when | proves |\n|---|---|---|---|---|\n", group, groups[group])
		}
		about := ""
		if c.Flag != "" {
			about = "`" + c.Flag + "`"
		}
		needs := make([]string, len(c.Needs))
		for i, need := range c.Needs {
			needs[i] = "`" + need + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", c.ID, about, strings.Join(needs, ", "), c.Title, c.Proves)
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
		t.Errorf("docs/checks.md is not what the table says; -update writes it:\n%s", diff)
	}
}

// TestGuide holds docs/check.md to checks and remedies that there are.
func TestGuide(t *testing.T) {
	guide, err := os.ReadFile("../../docs/check.md")
	if err != nil {
		t.Fatal(err)
	}
	all := ids(Checks())
	named := regexp.MustCompile("`((?:"+strings.Join(slices.Sorted(maps.Keys(groups)), "|")+")\\.[a-z0-9.-]+)`").FindAllStringSubmatch(string(guide), -1)
	if len(named) < 15 {
		t.Errorf("docs/check.md names %d checks only", len(named))
	}
	for _, match := range named {
		if !slices.Contains(all, match[1]) {
			t.Errorf("docs/check.md names %s, which there is not", match[1])
		}
	}
	// The credential's rights that it lists, and those that are asked for.
	for _, a := range slices.Concat(needed, neededToApprove) {
		for _, verb := range a.verbs {
			if !regexp.MustCompile(`resources: \[[^]]*\b` + regexp.QuoteMeta(a.resource) + `\b[^]]*\],.* verbs: \[[^]]*\b` + verb + `\b`).Match(guide) {
				t.Errorf("docs/check.md has no right to %s %s", verb, a.resource)
			}
		}
	}
}
