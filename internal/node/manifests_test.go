package node

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestReadManifests checks which files are read, and the errors about invalid manifests.
func TestReadManifests(t *testing.T) {
	const good = "apiVersion: v1\nkind: Pod\nmetadata: {name: NAME}\nspec: {containers: [{name: c, image: i}]}\n"
	named := func(name string) string { return strings.Replace(good, "NAME", name, 1) }
	with := func(spec string) map[string]string {
		return map[string]string{"a.yaml": named("a"),
			"b.yaml": strings.Replace(named("b"), "spec: {", "spec: {"+spec+", ", 1)}
	}
	for _, test := range []struct {
		name    string
		files   map[string]string
		path    string // the path to read, relative to the folder of the test
		older   bool   // references to API objects are allowed
		want    []string
		skipped string // what the errors of skipped files contain
		err     string
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
		{name: "an unknown field", files: map[string]string{"a.yaml": named("a") + "spek: {}\n"}, want: []string{"a"}},
		{name: "no YAML", files: map[string]string{"a.yaml": named("a"), "b.yaml": "{{"}, want: []string{"a"},
			skipped: "b.yaml: "},
		{name: "only a file without YAML", files: map[string]string{"b.yaml": "{{"}, path: "b.yaml", err: "b.yaml: "},
		{name: "another kind", files: map[string]string{"a.yaml": strings.Replace(named("a"), "Pod", "Job", 1)},
			skipped: `a.yaml: apiVersion "v1", kind "Job", name "a": must be a v1 Pod with a name`},
		{name: "no name", files: map[string]string{"a.yaml": strings.Replace(named(""), "{name: }", "{}", 1)},
			skipped: `a.yaml: apiVersion "v1", kind "Pod", name ""`},
		{name: "a field of another type", files: map[string]string{"a.yaml": named("a"),
			"b.yaml": strings.Replace(named("b"), "[{", "{", 1) + "{"}, want: []string{"a"}, skipped: "b.yaml: "},
		{name: "no containers", files: map[string]string{"a.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"},
			skipped: "a.yaml: "},
		{name: "the same name twice", files: map[string]string{"a.yaml": named("a"), "b.yaml": named("a")},
			want: []string{"a"}, skipped: "a.yaml has the name default/a too; rename one of the pods"},
		{name: "the same UID twice", files: map[string]string{
			"a.yaml": strings.Replace(named("a"), "metadata: {", "metadata: {uid: own, ", 1),
			"b.yaml": strings.Replace(named("b"), "metadata: {", "metadata: {uid: own, ", 1)}, want: []string{"a"},
			skipped: "a.yaml has the metadata.uid own too; remove it to get a generated one"},
		{name: "a service account", files: with("serviceAccountName: x"), want: []string{"a"},
			skipped: "b.yaml: static pods may not reference serviceaccounts; remove the reference"},
		{name: "a pull secret", files: with("imagePullSecrets: [{name: x}]"), want: []string{"a"},
			skipped: "may not reference secrets"},
		{name: "a secret in a variable", files: with("initContainers: [{name: i, image: i, env: [{name: A, valueFrom: " +
			"{secretKeyRef: {name: x, key: k}}}]}]"), want: []string{"a"}, skipped: "may not reference secrets"},
		{name: "variables of a ConfigMap", files: with("initContainers: [{name: i, image: i, envFrom: [{configMapRef: " +
			"{name: x}}]}]"), want: []string{"a"}, skipped: "may not reference configmaps"},
		{name: "a claim", files: with("volumes: [{name: v, persistentVolumeClaim: {claimName: x}}]"),
			want: []string{"a"}, skipped: "may not reference persistentvolumeclaims"},
		{name: "a token", files: with("volumes: [{name: v, projected: {sources: [{downwardAPI: {}}, " +
			"{serviceAccountToken: {path: t}}]}}]"), want: []string{"a"},
			skipped: "may not reference serviceaccounts (via projected volumes)"},
		{name: "a credential of a volume", files: with("volumes: [{name: v, iscsi: {targetPortal: a, iqn: b, lun: 0, " +
			"secretRef: {name: x}}}]"), want: []string{"a"}, skipped: "may not reference secrets"},
		{name: "volumes without objects", files: with("volumes: [{name: v, emptyDir: {}}, {name: h, hostPath: " +
			"{path: /etc}}, {name: p, projected: {sources: [{downwardAPI: {}}]}}]"), want: []string{"a", "b"}},
		{name: "references for an older kubelet", files: with("serviceAccountName: x"), older: true,
			want: []string{"a", "b"}},
		{name: "a resource claim for an older kubelet", files: with("serviceAccountName: x, resourceClaims: " +
			"[{name: c, resourceClaimName: x}]"), older: true, want: []string{"a"},
			skipped: "may not reference resourceclaims"},
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
			pods, skipped, err := ReadManifests(filepath.Join(dir, test.path), !test.older)
			var names []string
			for _, pod := range pods {
				names = append(names, pod.Name)
			}
			slices.Sort(names)
			if !slices.Equal(names, test.want) {
				t.Errorf("pods %v, want %v", names, test.want)
			}
			for what, is := range map[string]struct {
				err  error
				want string
			}{"error": {err, test.err}, "skipped": {errors.Join(skipped...), test.skipped}} {
				if is.want == "" && is.err != nil || is.want != "" && (is.err == nil ||
					!strings.Contains(is.err.Error(), is.want)) {
					t.Errorf("%s: %v, want %q", what, is.err, is.want)
				}
			}
		})
	}
	if pods, skipped, err := ReadManifests("", true); pods != nil || skipped != nil || err != nil {
		t.Errorf("empty path: pods %v, skipped %v, error %v", pods, skipped, err)
	}
}
