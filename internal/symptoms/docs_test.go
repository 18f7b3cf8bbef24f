package symptoms

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "generate docs/errors.md from the catalog")

const docsIntroduction = `# Errors between kubectl, kube-apiserver, scrapers and a kubelet

For each error: its meaning, its causes (the most likely first) with how to check them and what to change, and
commands to run. Words in capitals are placeholders. ` + "`fauxlet explain --error`" + ` finds these errors in a text
and fills in the addresses and names of that text; see [explain.md](explain.md). Below each error stands the test that
reproduces it, or why there is none.

This page is generated from internal/symptoms/catalog by ` + "`make generate`" + `.

| error | explanation |
|---|---|
`

// TestDocs checks that docs/errors.md is up to date with the catalog. With -update, it generates the page.
func TestDocs(t *testing.T) {
	page := docsPage()
	const path = "../../docs/errors.md"
	if *update {
		if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(page, string(got)); diff != "" {
		t.Errorf("docs/errors.md is not up to date with the catalog; run make generate:\n%s", diff)
	}
}

func docsPage() string {
	cell := strings.NewReplacer("|", `\|`, "\n", " ").Replace
	var list, sections strings.Builder
	for _, s := range Table() {
		f := s.filled(s.example(), nil, "") // placeholders in capitals replace the names in braces
		for _, text := range s.Texts {
			fmt.Fprintf(&list, "| `%s` | [%s](#%s) |\n", cell(text), s.ID, s.ID)
		}
		fmt.Fprintf(&sections, "\n## %s\n\n```\n%s\n```\n\n", s.ID, strings.Join(s.Texts, "\n"))
		fmt.Fprintf(&sections, "%s.\n\n", f.Meaning)
		sections.WriteString("| cause | check | remedy |\n|---|---|---|\n")
		for _, c := range f.Causes {
			row := fmt.Sprintf("| %s | %s | %s |\n", cell(c.Cause), cell(c.Check), cell(c.Remedy))
			sections.WriteString(strings.ReplaceAll(row, "<", "&lt;")) // Markdown allows HTML
		}
		fmt.Fprintf(&sections, "\n```sh\n%s\n```\n\n", strings.Join(f.Next, "\n"))
		if len(s.Reports) > 0 {
			fmt.Fprintf(&sections, "Public reports: %s.\n\n", strings.Join(s.Reports, ", "))
		}
		if s.Proof != "" {
			fmt.Fprintf(&sections, "Reproduced by %s.\n", s.Proof)
		} else {
			fmt.Fprintf(&sections, "Not reproduced by a test: %s.\n", s.Unproved)
		}
	}
	return docsIntroduction + list.String() + sections.String() + settingsTable()
}

// settingsTable lists the settings of the programs that call kubelets.
func settingsTable() string {
	var b strings.Builder
	b.WriteString("\n## Settings of clients\n\nIn the output of `fauxlet explain --error`, the remedies name the " +
		"settings of the program that called the kubelet.\n\n" +
		"| program | trust a CA | accept any certificate (for tests) | address | credential |\n|---|---|---|---|---|\n")
	for _, p := range catalog().Programs {
		if s := p.Settings; s != nil && p.Name != "" {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n",
				p.Name, s["trust"], s["skip"], s["addresses"], s["credential"])
		}
	}
	return b.String()
}

// example returns facts to which the entry applies, for the documentation.
func (e *Entry) example() *Facts {
	f := Facts{Callee: kubelet}
	for _, condition := range e.When {
		if callee, ok := strings.CutPrefix(condition, "callee="); ok && callee != "*" {
			f.Callee, _, _ = strings.Cut(callee, "|")
		}
		if caller, ok := strings.CutPrefix(condition, "caller="); ok {
			f.Caller, _, _ = strings.Cut(caller, "|")
		}
	}
	return &f
}
