// Command preflight checks that this machine has the tools that the end-to-end tests use, and lists all missing
// tools with their Debian packages. `make e2e` runs this command before it builds anything. With -build, the command
// then builds the programs that the tests run.
package main

import (
	"flag"
	"fmt"
	"os"

	"fauxlet/e2e/internal/programs"
)

func main() {
	build := flag.Bool("build", false, "also build the programs that the tests run")
	flag.Parse()
	err := programs.Missing(programs.Packages()...)
	if err == nil && *build {
		err = programs.BuildAll()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
}
