package kubelettest_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the examples into docs/go-tests.md")

// TestGoTestsPageShowsTheExamples checks that docs/go-tests.md shows all examples, without their imports, each below
// a link to its file.
func TestGoTestsPageShowsTheExamples(t *testing.T) {
	t.Parallel()
	const page = "../docs/go-tests.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	examples, err := filepath.Glob("example*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)\\]\\(../kubelettest/([a-z_]+\\.go)\\)\n\n```go\n(.*?)```\n")
	if *update {
		text = block.ReplaceAllFunc(text, func(old []byte) []byte {
			name := string(block.FindSubmatch(old)[1])
			return []byte("](../kubelettest/" + name + ")\n\n```go\n" + exampleCode(t, name) + "```\n")
		})
		if err := os.WriteFile(page, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	blocks := map[string]string{}
	for _, found := range block.FindAllStringSubmatch(string(text), -1) {
		blocks[found[1]] = found[2]
	}
	if all := strings.Count(string(text), "```go\n"); all != len(examples) || len(blocks) != len(examples) {
		t.Errorf("%d blocks, %d of them below a link to a file; the examples are %q", all, len(blocks), examples)
	}
	for _, name := range examples {
		if blocks[name] != exampleCode(t, name) {
			t.Errorf("%s: docs/go-tests.md differs from the file; -update writes it:\n%s", name, blocks[name])
		}
	}
}

// exampleCode returns the content of an example file, without the package clause and the imports.
func exampleCode(t testing.TB, name string) string {
	t.Helper()
	file, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(file), "\n)\n\n")
	return code
}
