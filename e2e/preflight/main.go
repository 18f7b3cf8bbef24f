// Command preflight checks that this machine has the tools that the end-to-end tests use, and lists all missing
// tools with their Debian packages. `make e2e` runs this command before it builds anything.
package main

import (
	"fmt"
	"os"

	"fauxlet/e2e/internal/programs"
)

func main() {
	if err := programs.Missing(programs.Packages()...); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
}
