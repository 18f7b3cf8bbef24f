package tools

import (
	"os"
	"testing"

	"fauxlet/e2e/internal/programs"
)

func TestMain(m *testing.M) { os.Exit(programs.Main(m, "tools")) }
