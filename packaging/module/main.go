// Module gives the Go module of this repository another path, so that the owner of a repository can publish it there:
//
//	go run ./packaging/module github.com/OWNER/fauxlet
//
// The path changes in go.mod, e2e/go.mod, and wherever it stands before a package of the module: imports, doc comments,
// string literals and pages. Running it again with the same path changes only files that have the original path,
// fauxlet, for example after a merge. Running it with the path that the module had before restores every file.
//
// The name of the program, of files and folders, of API groups (fauxlet/v1alpha1) and of the user agent stay as they
// are: only text that names this module or one of its packages changes.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/format"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"

	"fauxlet/internal/atomicfile"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: make module MODULE=github.com/OWNER/fauxlet")
		os.Exit(2)
	}
	changed, old, err := rename(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "module:", err)
		os.Exit(1)
	}
	fmt.Printf("module %s: %d files changed (the path was %s)\n", os.Args[1], changed, old)
}

// validPath matches a path that the go command can fetch, or a single word, which only this repository can use. The
// go command itself checks the rest ("go mod edit").
var validPath = regexp.MustCompile(`^[a-z0-9][-a-z0-9.]*(/[-A-Za-z0-9._~]+)*$`)

// original is the path of the module where it is developed.
const original = "fauxlet"

// rename changes the path of the module in the current directory. It first prepares all files, so that an error
// changes none of them, except if a file cannot be written.
func rename(module string) (changed int, old string, err error) {
	first, _, slash := strings.Cut(module, "/")
	if !validPath.MatchString(module) || slash && !strings.Contains(first, ".") || path.Clean(module) != module {
		return 0, "", fmt.Errorf("MODULE %q: want a path that the go command can fetch, as github.com/OWNER/fauxlet",
			module)
	}
	if old, err = output("go", "list", "-m"); err != nil {
		return 0, "", err
	}
	names, err := output("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return 0, "", err
	}
	files := strings.Split(strings.TrimSuffix(names, "\x00"), "\x00")
	mention, require := mentions(packages(files), old, original), requirement(old, original)
	written := map[string][]byte{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, but not yet committed
		}
		if err != nil {
			return 0, "", err
		}
		if bytes.IndexByte(content, 0) >= 0 {
			continue // not a text
		}
		next := mention.ReplaceAll(content, []byte("${1}"+module+"${2}"))
		switch {
		case path.Ext(file) == ".mod":
			next = require.ReplaceAll(content, []byte("${1}"+module+"${2}"))
		case strings.HasSuffix(file, ".go"):
			if next, err = format.Source(next); err != nil {
				return 0, "", fmt.Errorf("%s: %w", file, err)
			}
		}
		if !bytes.Equal(next, content) {
			written[file] = next
		}
	}
	for file, content := range written {
		info, err := os.Stat(file)
		if err != nil {
			return 0, "", err
		}
		if err := atomicfile.Write(file, content, info.Mode().Perm()); err != nil {
			return 0, "", err
		}
	}
	return len(written), old, nil
}

// packages returns the first elements of the paths of this module's packages.
func packages(files []string) []string {
	var all []string
	for _, file := range files {
		if first, _, found := strings.Cut(file, "/"); found && strings.HasSuffix(file, ".go") {
			all = append(all, first)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// mentions matches the paths of the module before a package of the module. It does not match within a longer path, as
// in ./cmd/fauxlet/testdata or in the URL of a repository.
func mentions(packages []string, modules ...string) *regexp.Regexp {
	return regexp.MustCompile(`(^|[^-\w./~])` + oneOf(modules) + `(/` + oneOf(packages) + `\b)`)
}

// requirement matches the paths of the module in the directives of a go.mod, and of the files that "go build -modfile"
// reads.
func requirement(modules ...string) *regexp.Regexp {
	return regexp.MustCompile(`(?m)^(module |require |replace |\t)` + oneOf(modules) + `((?:/e2e)?(?: v| =>|$))`)
}

// oneOf matches one of the texts.
func oneOf(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = regexp.QuoteMeta(text)
	}
	return "(?:" + strings.Join(quoted, "|") + ")"
}

func output(name string, args ...string) (string, error) {
	var stderr strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, &stderr)
	}
	return strings.TrimSpace(string(out)), nil
}
