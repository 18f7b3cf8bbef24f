package kubelettest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestGoTestsPageShowsTheExamples checks that docs/go-tests.md shows all examples, without their imports, each below
// a link to its file.
func TestGoTestsPageShowsTheExamples(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/go-tests.md")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := filepath.Glob("example*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]string{}
	for _, block := range regexp.MustCompile(
		"(?s)\\]\\(../kubelettest/([a-z_]+\\.go)\\)\n\n```go\n(.*?)```\n").FindAllStringSubmatch(string(text), -1) {
		blocks[block[1]] = block[2]
	}
	if all := strings.Count(string(text), "```go\n"); all != len(examples) || len(blocks) != len(examples) {
		t.Errorf("%d blocks, %d of them below a link to a file; the examples are %q", all, len(blocks), examples)
	}
	for _, name := range examples {
		file, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, code, _ := strings.Cut(string(file), "\n)\n\n")
		if blocks[name] != code {
			t.Errorf("%s: docs/go-tests.md differs from the file:\n%s", name, blocks[name])
		}
	}
}
