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
` + "`e2e/node/comparison_docs_test.go`" +
		` writes this section from the list of differences that the comparison test allows.
The test also fails if an allowed difference no longer occurs. Values that the test cannot see are not in this list: see
[fidelity.md](fidelity.md).

| object | on a stand-in node | why |
|---|---|---|
`)
	for _, d := range sameNodeDifferences {
		fmt.Fprintf(&text, "| %s | %s | %s |\n", d.what, d.text, d.why)
	}
	text.WriteString(`
The values of these fields differ between any two nodes, so the test compares only whether the fields exist:
`)
	for i, field := range slices.Sorted(maps.Keys(masked)) {
		if i > 0 {
			text.WriteString(", ")
		}
		fmt.Fprintf(&text, "`%s`", field)
	}
	fmt.Fprintf(&text, `,
the addresses of pods, and the hash and the time of a static pod.
The test does not compare how long a status lasts either. But a status that lasts %v or longer on one node must
also occur on the other node, at the same place in the sequence, if only for a moment.
`, lasting)
	return text.String()
}
