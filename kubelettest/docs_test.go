package kubelettest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocs: the blocks of docs/go-tests.md are the examples, each beneath the name of its file, without its imports;
// and it has all of them.
func TestDocs(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/go-tests.md")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := filepath.Glob("example*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for _, block := range regexp.MustCompile("(?s)\\]\\(../kubelettest/([a-z_]+\\.go)\\)\n\n```go\n(.*?)```\n").FindAllStringSubmatch(string(text), -1) {
		told[block[1]] = block[2]
	}
	if blocks := strings.Count(string(text), "```go\n"); blocks != len(examples) || len(told) != len(examples) {
		t.Errorf("%d blocks, %d of them beneath the name of a file; there are the examples %q", blocks, len(told), examples)
	}
	for _, name := range examples {
		file, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, code, _ := strings.Cut(string(file), "\n)\n\n")
		if told[name] != code {
			t.Errorf("%s: docs/go-tests.md has another text than the file:\n%s", name, told[name])
		}
	}
}
