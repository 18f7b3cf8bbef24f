package programs

import (
	"os"
	"path/filepath"
	"sync"
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
