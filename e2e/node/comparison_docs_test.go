package node

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"fauxlet/e2e/internal/expect"
)

// TestNodeDifferencesPageIsCurrent compares the last section of docs/node.md with sameNodeDifferences and masked.
// With FAUXLET_E2E_WRITE_DOCS=1 the test writes that section.
func TestNodeDifferencesPageIsCurrent(t *testing.T) {
	const path, heading = "../../docs/node.md", "## Differences\n"
	page, err := os.ReadFile(path)
	expect.NoError(t, err)
	written, _, found := strings.Cut(string(page), heading)
	if !found {
		t.Fatalf("%s has no heading %q", path, heading)
	}
	want := written + heading + nodeDifferences()
	if os.Getenv("FAUXLET_E2E_WRITE_DOCS") != "" {
		expect.NoError(t, os.WriteFile(path, []byte(want), 0o644))
		return
	}
	if string(page) != want {
		t.Errorf("%s does not end with sameNodeDifferences and masked; write it with FAUXLET_E2E_WRITE_DOCS=1 go "+
			"test -run %s ./node",
			path, t.Name())
	}
}

func nodeDifferences() string {
	var text strings.Builder
	text.WriteString(`
` + "`e2e/node/comparison_docs_test.go`" + ` writes this part from the differences that the comparison allows. One that no
longer occurs fails the comparison.

| of | a stand-in | why |
|---|---|---|
`)
	for _, d := range sameNodeDifferences {
		fmt.Fprintf(&text, "| %s | %s | %s |\n", d.what, d.text, d.why)
	}
	text.WriteString(`
Any two nodes differ in these fields, so the test compares only whether they exist:
`)
	for i, field := range slices.Sorted(maps.Keys(masked)) {
		if i > 0 {
			text.WriteString(", ")
		}
		fmt.Fprintf(&text, "`%s`", field)
	}
	fmt.Fprintf(&text, `,
the addresses of pods, and the hash and the time of a static pod.
Nor does it compare how long a status lasts. A status that lasts %v on one node must occur on the other too, in the same
order, however briefly.
`, lasting)
	return text.String()
}
