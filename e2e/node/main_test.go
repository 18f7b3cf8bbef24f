package node

import (
	"os"
	"sync"
	"testing"

	"fauxlet/e2e/internal/programs"
)

func TestMain(m *testing.M) { os.Exit(programs.Main(m, "node")) }

// busy is held by tests that keep all processors busy, and by the test that compares the times of two nodes. They run
// one after another.
var busy sync.Mutex

// alone holds busy until the test ends. A test calls it before it asks for a control plane.
func alone(t *testing.T) {
	busy.Lock()
	t.Cleanup(busy.Unlock)
}
