package scenario_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/doc"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"fauxlet/scenario"
)

var update = flag.Bool("update", false, "write docs/scenario.md")

const referencePage = "../docs/scenario.md"

// sections are the types that the page describes, in the order of the page. Embedded types have no section of their
// own.
var sections = []string{"Scenario", "ContainerEntry", "Container", "Log", "Usage", "Exit", "Stop", "ExecAnswer", "Port",
	"Fault"}

// TestReferencePage compares docs/scenario.md with the doc comments of this package. With -update it writes the page.
// It also loads every example.
func TestReferencePage(t *testing.T) {
	g := newGenerator(t)
	page := g.page()
	for _, example := range g.examples {
		if !strings.HasPrefix(example, "apiVersion:") {
			example = head + example
		}
		if _, err := scenario.Parse([]byte(example), scenario.Options{InCluster: true}); err != nil {
			t.Errorf("an example is wrong: %v\n%s", err, example)
		}
	}
	if *update {
		if err := os.WriteFile(referencePage, page, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(referencePage)
	if err != nil || !bytes.Equal(got, page) {
		t.Errorf("%s is not up to date (%v); run: go test ./scenario -run TestReferencePage -update", referencePage,
			err)
	}
}

// generator writes the reference page.
type generator struct {
	t        *testing.T
	types    map[string]*doc.Type
	out      bytes.Buffer
	examples []string
}

func newGenerator(t *testing.T) *generator {
	t.Helper()
	files := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var sources []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, file)
	}
	parsed, err := doc.NewFromFiles(files, sources, "fauxlet/scenario")
	if err != nil {
		t.Fatal(err)
	}
	g := &generator{t: t, types: map[string]*doc.Type{}}
	for _, typ := range parsed.Types {
		g.types[typ.Name] = typ
	}
	return g
}

func (g *generator) page() []byte {
	g.out.WriteString(`# The Scenario file

<!-- Generated from the doc comments of package scenario: go test ./scenario -run TestReferencePage -update -->

A Scenario lists the pods of a stand-in kubelet and describes how their containers behave. The file is YAML or JSON. An
unknown or duplicate field is an error. Durations are written as in ` + "`1m30s`, quantities as in `250m` or `64Mi`" + `, and times
as in ` + "`2026-01-02T15:04:05Z`" + `.
`)
	for _, name := range sections {
		g.section(name)
	}
	return g.out.Bytes()
}

func (g *generator) section(name string) {
	typ := g.types[name]
	if typ == nil {
		g.t.Fatalf("package scenario has no type %s", name)
	}
	fmt.Fprintf(&g.out, "\n## %s\n", name)
	fields := g.fields(typ)
	g.text(typ.Doc)
	if len(fields) == 0 {
		return
	}
	g.out.WriteString("\n| field | type | meaning |\n|---|---|---|\n")
	for _, f := range fields {
		if f.doc == "" {
			g.t.Errorf("%s.%s has no doc comment", name, f.goName)
		}
		meaning := strings.ReplaceAll(useJSONNames(strings.Join(strings.Fields(f.doc), " "), fields), "|", `\|`)
		fmt.Fprintf(&g.out, "| `%s` | %s | %s |\n", f.jsonName, f.typeName, meaning)
	}
	if name == "ContainerEntry" {
		g.out.WriteString("\nThe fields of [Container](#container) follow in the same entry.\n")
	}
}

// The method "text" writes the paragraphs and examples of a doc comment.
func (g *generator) text(text string) {
	var p comment.Parser
	for _, block := range p.Parse(text).Content {
		switch block := block.(type) {
		case *comment.Code:
			g.examples = append(g.examples, block.Text)
			fmt.Fprintf(&g.out, "\n```yaml\n%s```\n", block.Text)
		case *comment.Paragraph:
			var printer comment.Printer
			plain := string(printer.Text(&comment.Doc{Content: []comment.Block{block}}))
			plain = strings.TrimSpace(plain)
			plain = strings.ReplaceAll(plain, "docs/faults.md", "[faults.md](faults.md)")
			fmt.Fprintf(&g.out, "\n%s\n", plain)
		}
	}
}

type docField struct{ goName, jsonName, typeName, doc string }

// fields returns the fields of a struct. The fields of an embedded Selector are included; an embedded Container has a
// section of its own.
func (g *generator) fields(typ *doc.Type) []docField {
	spec := typ.Decl.Specs[0].(*ast.TypeSpec)
	structure, ok := spec.Type.(*ast.StructType)
	if !ok {
		return nil
	}
	var fields []docField
	for _, field := range structure.Fields.List {
		if len(field.Names) == 0 {
			if name := field.Type.(*ast.Ident).Name; name == "Selector" {
				fields = append(fields, g.fields(g.types[name])...)
			}
			continue
		}
		tag := reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("json")
		jsonName, _, _ := strings.Cut(tag, ",")
		if jsonName == "-" {
			continue
		}
		fields = append(fields, docField{
			goName: field.Names[0].Name, jsonName: jsonName, typeName: typeName(field.Type), doc: field.Doc.Text(),
		})
	}
	return fields
}

// typeName returns the name that the page uses for the type of a field.
func typeName(expr ast.Expr) string {
	switch t := expr.(type) {
	case *ast.StarExpr:
		return typeName(t.X)
	case *ast.ArrayType:
		return "list of " + typeName(t.Elt)
	case *ast.MapType:
		return "map of " + typeName(t.Key) + " to " + typeName(t.Value)
	case *ast.SelectorExpr:
		name := t.X.(*ast.Ident).Name + "." + t.Sel.Name
		if known, found := map[string]string{
			"metav1.Duration": "duration", "metav1.Time": "time", "resource.Quantity": "quantity",
			"v1.Pod": "core/v1 Pod",
		}[name]; found {
			return known
		}
		return name
	case *ast.Ident:
		switch t.Name {
		case "int", "int32", "int64":
			return "integer"
		case "float64":
			return "number"
		case "string":
			return t.Name
		}
		return fmt.Sprintf("[%s](#%s)", t.Name, strings.ToLower(t.Name))
	}
	return fmt.Sprintf("%T", expr)
}

// useJSONNames replaces the Go names of fields in a text by the names of these fields in a Scenario file.
func useJSONNames(text string, fields []docField) string {
	for _, f := range fields {
		text = regexp.MustCompile(`\b`+f.goName+`\b`).ReplaceAllLiteralString(text, "`"+f.jsonName+"`")
	}
	return text
}
