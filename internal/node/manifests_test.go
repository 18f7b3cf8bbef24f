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
		path  string // the path to read, relative to the folder of the test
		want  []string
		err   string
	}{
		{name: "a folder", files: map[string]string{"b.yaml": named("b"),
			"a.json": `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"c"}]}}`},
			want: []string{"a", "b"}},
		{name: "a file", files: map[string]string{"a.yaml": named("a"), "b.yaml": named("b")}, path: "b.yaml",
			want: []string{"b"}},
		{name: "hidden files and folders", files: map[string]string{".a.yaml": "{{", "old/b.yaml": "{{",
			"c.yaml": named("c")}, want: []string{"c"}},
		{name: "an empty folder"},
		{name: "nothing there", path: "nowhere"},
		{name: "no YAML", files: map[string]string{"a.yaml": named("a"), "b.yaml": "{{"}, err: "b.yaml: "},
		{name: "another kind", files: map[string]string{"a.yaml": strings.Replace(named("a"), "Pod", "Job", 1)},
			err: `a.yaml: apiVersion "v1", kind "Job", name "a": must be a v1 Pod with a name`},
		{name: "no name", files: map[string]string{"a.yaml": strings.Replace(named(""), "{name: }", "{}", 1)},
			err: `a.yaml: apiVersion "v1", kind "Pod", name ""`},
		{name: "an unknown field", files: map[string]string{"a.yaml": named("a") + "spek: {}\n"},
			err: `a.yaml: .*unknown field "spek"`},
		{name: "no containers", files: map[string]string{"a.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"},
			err: "a.yaml: "},
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
