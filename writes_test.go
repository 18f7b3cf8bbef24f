package fauxlet_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// writers are functions that write files. Most of them follow a symbolic link in the place of the file.
var writers = []string{
	"os.Create", "os.Link", "os.Mkdir", "os.MkdirAll", "os.OpenFile", "os.Rename", "os.Symlink", "os.WriteFile",
	"cert.WriteCert", "certutil.WriteCert", "keyutil.WriteKey", "keyutil.LoadOrGenerateKeyFile",
	"clientcmd.WriteToFile", "clientcmd.ModifyConfig",
}

// TestFilesAreWrittenAtomically checks that only package atomicfile writes files.
func TestFilesAreWrittenAtomically(t *testing.T) {
	parsed := 0
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && strings.HasPrefix(entry.Name(), "."),
			path == "e2e", path == filepath.Join("internal", "atomicfile"):
			return filepath.SkipDir
		case filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		parsed++
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, source, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if selector, ok := n.(*ast.SelectorExpr); ok {
				name := string(source[selector.Pos()-file.FileStart : selector.End()-file.FileStart])
				if slices.Contains(writers, name) {
					t.Errorf("%v: %s: write files with internal/atomicfile, which does not follow planted symbolic links",
						files.Position(selector.Pos()), name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if parsed < 100 {
		t.Errorf("only %d files were parsed", parsed)
	}
}
