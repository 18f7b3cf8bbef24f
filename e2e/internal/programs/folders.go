package programs

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"fauxlet/e2e/internal/expect"
)

// Module returns the folder "e2e", which contains the go.mod of these tests. It panics if the working folder is not in
// this folder or below it.
var Module = sync.OnceValue(func() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			panic("e2e: the working folder is not below the module's go.mod")
		}
		dir = parent
	}
})

// Repository returns the folder of the repository.
func Repository() string { return filepath.Dir(Module()) }

// ModuleFolder returns the folder of another module's sources. The module is given as path@version. It is downloaded if
// needed.
func ModuleFolder(t testing.TB, module string) string {
	t.Helper()
	out, err := exec.Command("go", "mod", "download", "-json", module).Output()
	if err != nil {
		t.Fatalf("go mod download %s: %v\n%s", module, err, out)
	}
	var is struct{ Dir string }
	expect.NoError(t, json.Unmarshal(out, &is))
	return is.Dir
}
