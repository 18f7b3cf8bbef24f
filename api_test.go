package fauxlet_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/build"
	"go/doc"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/api.txt")

// TestAPI compares the exported names of the packages that other modules can import, with their types, with
// docs/api.txt. After a deliberate change "make api" writes the file anew; docs/api.md says which changes are allowed.
func TestAPI(t *testing.T) {
	t.Parallel()
	const columns = "{{if ne .Name `main`}}{{.Dir}}\t{{.ImportPath}}\t{{.Module.Path}}{{end}}"
	out, err := exec.Command("go", "list", "-f", columns, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var api strings.Builder
	packages := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		dir, path, module := fields[0], fields[1], fields[2]
		name := strings.TrimPrefix(path, module+"/")
		if path == module || strings.HasPrefix(name, "internal/") {
			continue
		}
		packages++
		if !hasExample(t, dir) {
			t.Errorf("%s has no example; other modules import it, so show how", name)
		}
		fmt.Fprintf(&api, "package %s\n\n", name)
		for _, declaration := range exported(t, dir, path) {
			fmt.Fprintf(&api, "%s\n", declaration)
		}
		fmt.Fprintln(&api)
	}
	if packages < 10 {
		t.Errorf("only %d packages were looked at", packages)
	}
	const file = "docs/api.txt"
	if *update {
		if err := os.WriteFile(file, []byte(api.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	recorded, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	was, is := strings.Split(string(recorded), "\n"), strings.Split(api.String(), "\n")
	for i := range max(len(was), len(is)) {
		if i >= len(was) || i >= len(is) || was[i] != is[i] {
			t.Fatalf("the exported API differs from %s, first in its line %d:\nrecorded: %s\nnow:      %s\n"+
				"If the change is deliberate and docs/api.md allows it, run: make api", file, i+1,
				strings.Join(was[min(i, len(was)):min(i+1, len(was))], ""),
				strings.Join(is[min(i, len(is)):min(i+1, len(is))], ""))
		}
	}
}

// hasExample returns whether a test file of the folder has an example.
func hasExample(t *testing.T, dir string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(data), "\nfunc Example")
	})
}

// exported returns the exported declarations of a package, as on Linux, without comments, unexported fields, and the
// values of variables.
func exported(t *testing.T, dir, path string) []string {
	t.Helper()
	context := build.Default
	context.GOOS, context.GOARCH = "linux", "amd64"
	found, err := context.ImportDir(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range found.GoFiles {
		parsed, err := parser.ParseFile(set, dir+"/"+name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, parsed)
	}
	of, err := doc.NewFromFiles(set, files, path)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	show := func(node ast.Node) {
		var text strings.Builder
		like := printer.Config{Mode: printer.UseSpaces | printer.TabIndent, Tabwidth: 8} // gofmt
		if err := like.Fprint(&text, token.NewFileSet(), node); err != nil {
			t.Fatal(err)
		}
		withoutComment := strings.ReplaceAll(text.String(), "// contains filtered or unexported fields", "")
		all = append(all, strings.TrimSpace(strings.ReplaceAll(withoutComment, "\n\n}", "\n}")))
	}
	values := func(list []*doc.Value) {
		for _, value := range list {
			for _, spec := range value.Decl.Specs {
				if one := spec.(*ast.ValueSpec); value.Decl.Tok == token.VAR {
					one.Values = nil
				}
			}
			show(value.Decl)
		}
	}
	functions := func(list []*doc.Func) {
		for _, function := range list {
			function.Decl.Body = nil
			show(function.Decl)
		}
	}
	values(of.Consts)
	values(of.Vars)
	functions(of.Funcs)
	for _, one := range of.Types {
		show(one.Decl)
		if spec := one.Decl.Specs[0].(*ast.TypeSpec); spec.Assign.IsValid() {
			all = append(all, aliased(t, spec, files)...)
		}
		values(one.Consts)
		values(one.Vars)
		functions(one.Funcs)
		functions(one.Methods)
	}
	return all
}

// aliased returns the declarations of the type in an internal package of which spec is an alias: the type, its
// constants and its methods.
func aliased(t *testing.T, spec *ast.TypeSpec, files []*ast.File) (all []string) {
	t.Helper()
	selector, ok := spec.Type.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	for _, file := range files {
		for _, imported := range file.Imports {
			path := strings.Trim(imported.Path.Value, `"`)
			_, dir, internal := strings.Cut(path, "/internal/")
			if !internal || !strings.HasSuffix(path, "/"+selector.X.(*ast.Ident).Name) {
				continue
			}
			name := selector.Sel.Name
			is := regexp.MustCompile(`^type ` + name + ` |^func \(\w+ \*?` + name + `\) |^const[^=]* ` + name + ` +=`)
			for _, declaration := range exported(t, filepath.Join("internal", dir), path) {
				if is.MatchString(declaration) {
					all = append(all, declaration)
				}
			}
			return all
		}
	}
	return nil
}
