package symptoms

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/errors.md from the table")

// TestDocs holds docs/errors.md to the table.
func TestDocs(t *testing.T) {
	cell := strings.NewReplacer("|", `\|`, "\n", " ")
	var list, rows strings.Builder
	for _, s := range Table() {
		f := Finding{Symptom: s}
		f.fill() // what differs is in capitals
		for _, text := range s.Texts {
			fmt.Fprintf(&list, "| `%s` | [%s](#%s) |\n", cell.Replace(text), s.ID, s.ID)
		}
		fmt.Fprintf(&rows, "\n## %s\n\n```\n%s\n```\n\n%s.\n\n", s.ID, strings.Join(s.Texts, "\n"), sentence(f.Meaning))
		rows.WriteString("| it comes of | how to tell | the cure |\n|---|---|---|\n")
		for _, c := range f.Causes {
			fmt.Fprintf(&rows, "| %s | %s | %s |\n", cell.Replace(c.Cause), cell.Replace(c.Check), cell.Replace(c.Remedy))
		}
		fmt.Fprintf(&rows, "\n```sh\n%s\n```\n\n", strings.Join(f.Next, "\n"))
		if len(s.Reports) > 0 {
			fmt.Fprintf(&rows, "Others have met it: %s.\n\n", strings.Join(s.Reports, ", "))
		}
		fmt.Fprintf(&rows, "Proof: %s.\n", s.Proof)
	}
	page := "# Errors between kubectl, kube-apiserver, scrapers and a kubelet\n\n" +
		"What each says in other words, and what it comes of, the likeliest first. `fauxlet explain --error` finds them in a text, and fills in the addresses and names that it has; " +
		"how is in [explain.md](explain.md). Words in capitals are to be filled in. Under each stands what to run next, and the test that has it happen for its cause.\n\n" +
		"This page is written from the table in the code: `go test ./internal/symptoms -run TestDocs -update`.\n\n" +
		"| the error | |\n|---|---|\n" + list.String() + rows.String()
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
		t.Errorf("docs/errors.md is not what the table says; -update writes it:\n%s", diff)
	}
}

// sentence begins with a capital letter, unless with the name of a program.
func sentence(s string) string {
	if strings.HasPrefix(s, "kube") {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
