package node

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestReadManifests checks which files are read, and the errors for invalid manifests.
func TestReadManifests(t *testing.T) {
	const good = "apiVersion: v1\nkind: Pod\nmetadata: {name: NAME}\nspec: {containers: [{name: c, image: i}]}\n"
	named := func(name string) string { return strings.Replace(good, "NAME", name, 1) }
	for _, test := range []struct {
		name  string
		files map[string]string
		path  string // path of the manifest in the folder
		want  []string
		err   string
	}{
		{"a folder", map[string]string{"b.yaml": named("b"),
			"a.json": `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"c"}]}}`},
			"", []string{"a", "b"}, ""},
		{"a file", map[string]string{"a.yaml": named("a"), "b.yaml": named("b")}, "b.yaml", []string{"b"}, ""},
		{"hidden files and folders", map[string]string{".a.yaml": "{{", "old/b.yaml": "{{", "c.yaml": named("c")}, "",
			[]string{"c"}, ""},
		{"an empty folder", nil, "", nil, ""},
		{"nothing there", nil, "nowhere", nil, ""},
		{"no YAML", map[string]string{"a.yaml": named("a"), "b.yaml": "{{"}, "", nil, "b.yaml: "},
		{"another kind", map[string]string{"a.yaml": strings.Replace(named("a"), "Pod", "Job", 1)}, "", nil,
			`a.yaml: apiVersion "v1", kind "Job", name "a": a manifest is a v1 Pod with a name`},
		{"no name", map[string]string{"a.yaml": strings.Replace(named(""), "{name: }", "{}", 1)}, "", nil,
			`a.yaml: apiVersion "v1", kind "Pod", name ""`},
		{"an unknown field", map[string]string{"a.yaml": named("a") + "spek: {}\n"}, "", nil,
			`a.yaml: .*unknown field "spek"`},
		{"no containers", map[string]string{"a.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"}, "", nil,
			"a.yaml: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range test.files {
				file := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := makeFIFO(filepath.Join(dir, "pipe")); err != nil { // reading a pipe would block forever
				t.Fatal(err)
			}
			pods, err := ReadManifests(filepath.Join(dir, test.path))
			var names []string
			for _, pod := range pods {
				names = append(names, pod.Name)
			}
			slices.Sort(names)
			before, after, _ := strings.Cut(test.err, ".*")
			switch {
			case test.err == "" && (err != nil || !slices.Equal(names, test.want)):
				t.Errorf("pods %v, error %v; want pods %v", names, err, test.want)
			case test.err != "" && (err == nil || !strings.Contains(err.Error(), before) ||
				!strings.Contains(err.Error(), after)):
				t.Errorf("error %v, want %s", err, test.err)
			}
		})
	}
	if pods, err := ReadManifests(""); pods != nil || err != nil {
		t.Errorf("empty path: pods %v, error %v", pods, err)
	}
}
