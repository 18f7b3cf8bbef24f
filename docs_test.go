package fauxlet_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocs checks the Markdown pages of the repository. Every relative link must lead to an existing file and heading,
// and every path of a Go file or package in backticks must exist.
func TestDocs(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("git", "ls-files", "*.md").Output()
	if err != nil {
		t.Fatal(err)
	}
	pages := strings.Fields(string(out))
	if len(pages) < 20 {
		t.Fatalf("git lists only %d pages", len(pages))
	}
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	path := regexp.MustCompile(
		"`((?:authchain|server|config|testcerts|scenario|kubelettest|conformance|internal|cmd|e2e|deploy|docs)/" +
			"[\\w./-]*)`")
	for _, page := range pages {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		text := withoutCode(string(data))
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			target, heading, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := page
			if target != "" {
				file = filepath.Join(filepath.Dir(page), target)
			}
			data, err := os.ReadFile(file)
			if info, statErr := os.Stat(file); statErr == nil && info.IsDir() && heading == "" {
				continue
			}
			if err != nil {
				t.Errorf("%s links to %s: %v", page, match[1], err)
			} else if heading != "" && !headings(string(data))[heading] {
				t.Errorf("%s links to %s, but %s has no such heading", page, match[1], file)
			}
		}
		if page == "CHANGELOG.md" { // the changelog names paths that no longer exist
			continue
		}
		for _, match := range path.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(match[1]); err != nil {
				t.Errorf("%s names %s, which does not exist", page, match[1])
			}
		}
	}
}

// docs/fidelity.md has a table of answers that differ from a kubelet's answers on purpose. TestDifferencesOnPurpose
// checks that each row of the table names an existing test.
func TestDifferencesOnPurpose(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("docs/fidelity.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "### Answers that differ on purpose\n")
	table, _, _ = strings.Cut(table, "\n\nTwo remarks")
	test := regexp.MustCompile("\\| `([\\w/]+)` `(Test\\w+)` \\|$")
	rows := 0
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| request |") {
			continue
		}
		rows++
		named := test.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if named == nil {
			t.Errorf("docs/fidelity.md: no test in %q", line)
			continue
		}
		if exec.Command("git", "grep", "-q", "^func "+named[2]+"(", "--", named[1]+"/*_test.go").Run() != nil {
			t.Errorf("docs/fidelity.md names %s, which package %s does not have", named[2], named[1])
		}
	}
	if rows < 6 {
		t.Errorf("docs/fidelity.md lists %d answers that differ on purpose, want 6 or more", rows)
	}
}

// withoutCode removes fenced code blocks.
func withoutCode(text string) string {
	var kept []string
	fenced := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		} else if !fenced {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// headings returns the anchors of the headings of a page.
func headings(text string) map[string]bool {
	anchors := map[string]bool{}
	dropped := regexp.MustCompile(`[^\w\- ]`)
	for line := range strings.Lines(withoutCode(text)) {
		if strings.HasPrefix(line, "#") {
			title := strings.ToLower(strings.TrimSpace(strings.TrimLeft(line, "#")))
			anchors[strings.ReplaceAll(dropped.ReplaceAllString(title, ""), " ", "-")] = true
		}
	}
	return anchors
}
