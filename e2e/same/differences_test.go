package same

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"fauxlet/e2e/internal/expect"
	"fauxlet/internal/recordings"
)

// TestDifferencesPageIsCurrent compares docs/differences.md with divergences.json, the recordings.Masks and the
// exemptions. With FAUXLET_E2E_WRITE_DOCS=1 the test writes the page.
func TestDifferencesPageIsCurrent(t *testing.T) {
	const path = "../../docs/differences.md"
	want := differencesPage(readDivergences(t))
	if os.Getenv("FAUXLET_E2E_WRITE_DOCS") != "" {
		expect.NoError(t, os.MkdirAll("../../docs", 0o755))
		expect.NoError(t, os.WriteFile(path, []byte(want), 0o644))
	}
	got, err := os.ReadFile(path)
	expect.NoError(t, err)
	if string(got) != want {
		t.Errorf("%s does not match divergences.json, recordings.Masks and notAsked; write it with "+
			"FAUXLET_E2E_WRITE_DOCS=1 go test -run %s ./same",
			path, t.Name())
	}
}

func differencesPage(known divergences) string {
	var page strings.Builder
	page.WriteString(`# How fauxlet's answers differ from a kubelet's

` + "`e2e/same/differences_test.go`" + ` writes this page.

` + "`make e2e`" + ` sends the same requests to fauxlet and to the kubelet's own server, v1.37.2, in some two dozen
configurations. The requests are those of ` + "`internal/vectors/`" + `, those in ` +
		"`e2e/same/requests_test.go`" + `, and
thousands of generated ones. The test compares status, headers, body, what happens to the connection, the TokenReviews
and SubjectAccessReviews sent, what TLS offers, and the values of the metrics at the end. A difference that is not on
this page fails the test. So does a difference on this page that no longer occurs.

## Differences

`)
	if len(known) == 0 {
		page.WriteString("There are none in these requests. Answers to other requests " +
			"[differ on purpose](fidelity.md#answers-that-differ-on-purpose).\n")
	} else {
		page.WriteString("| requests (configuration, port, client, method, path) | fauxlet's status | what differs " +
			"| why |\n|---|---|---|---|\n")
		for _, d := range known {
			fmt.Fprintf(&page, "| `%s` | %d | %s | %s |\n", strings.ReplaceAll(d.Requests, "|", `\|`), d.Fauxlet,
				strings.Join(d.Differs, ", "), d.Reason)
		}
	}
	page.WriteString(`
## What is not compared

Two runs of the same server differ in these, so the test removes them before it compares:

- the values of the headers ` + "`Date`, `Last-Modified` (of `/logs/`) and `Process-Start-Time-Unix`" + `
- the addresses and folders of the two processes
`)
	for _, m := range recordings.Masks {
		fmt.Fprintf(&page, "- %s\n", m.What)
	}
	page.WriteString("\nThese requests are not generated:\n\n")
	for _, n := range notAsked {
		fmt.Fprintf(&page, "- %s: %s\n", n.What, n.Reason)
	}
	return page.String()
}
