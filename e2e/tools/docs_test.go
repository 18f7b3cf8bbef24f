package tools

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
)

// TestPagesNameExistingTests checks that docs/claims.md and docs/errors.md name only tests that exist.
func TestPagesNameExistingTests(t *testing.T) {
	var sources strings.Builder
	expect.NoError(t, filepath.WalkDir(programs.Repository(), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, "_test.go") {
			sources.WriteString(expect.File(t, path))
		}
		return err
	}))
	for _, page := range []string{"claims.md", "errors.md"} {
		text := expect.File(t, filepath.Join(programs.Repository(), "docs", page))
		names := regexp.MustCompile(`\bTest[A-Z]\w*`).FindAllString(text, -1)
		if len(names) == 0 {
			t.Errorf("docs/%s names no test", page)
		}
		for _, name := range names {
			if !strings.Contains(sources.String(), "\nfunc "+name+"(t *testing.T)") {
				t.Errorf("docs/%s names the test %s, which does not exist", page, name)
			}
		}
	}
}
