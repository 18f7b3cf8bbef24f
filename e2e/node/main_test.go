package node

import (
	"os"
	"sync"
	"testing"

	"fauxlet/e2e/internal/programs"
)

func TestMain(m *testing.M) { os.Exit(programs.Main(m, "node")) }

// The mutex "busy" is locked by every test that keeps all processors busy, and by the test that compares the timing of
// two nodes, so that these tests run one after another.
var busy sync.Mutex

// alone locks the mutex "busy" until the test ends. A test that calls this function must do so before it calls
// controlplane.Shared or New.
func alone(t *testing.T) {
	busy.Lock()
	t.Cleanup(busy.Unlock)
}
