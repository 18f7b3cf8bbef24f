package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestInvalidManifestIsSkipped checks that an invalid file does not keep the other static pods from changing, and that
// the log names the file once, and again when it has another error.
func TestInvalidManifestIsSkipped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	core, logs := observer.New(zap.ErrorLevel)
	m := &manifests{path: dir, refuseReferences: true, logger: zap.New(core)}
	for i, step := range []struct{ file, text, want string }{
		{"bad.yaml", "{{", "bad.yaml: "},
		{"good.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: good}\nspec: {containers: [{name: c}]}\n", ""},
		{"bad.yaml", "kind: Job\n", "bad.yaml: apiVersion"},
	} {
		if err := os.WriteFile(filepath.Join(dir, step.file), []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		pods, err := m.read()
		if err != nil || len(pods) != min(i, 1) {
			t.Errorf("after %s: pods %v, error %v", step.file, pods, err)
		}
		var logged []string
		for _, entry := range logs.TakeAll() {
			logged = append(logged, entry.ContextMap()["error"].(string))
		}
		if step.want == "" && logged != nil || !strings.Contains(strings.Join(logged, "\n"), step.want) {
			t.Errorf("after %s: logged %q, want %q", step.file, logged, step.want)
		}
	}
}
