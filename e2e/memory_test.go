package e2e

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
)

// What `fauxlet serve` may take when nobody asks it anything, in kB: resident memory, of which most are pages of the
// program's own file that all its processes share, and what is its own.
const (
	idleMemory = 72 << 10
	idleOwn    = 20 << 10
)

// TestIdleMemory looks at a stand-in that has answered a request and has nothing to do.
func TestIdleMemory(t *testing.T) {
	reviews := startReviews(t)
	k := startKubelet(t, nil, kubeletOptions{kind: "fauxlet", kubeconfig: reviews.kubeconfig, settings: servingCertificate(t)})
	k.wants(t, "/pods", identity{}, http.StatusUnauthorized, "Unauthorized")
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", k.cmd.Process.Pid))
	must(t, err)
	defer file.Close()
	sizes := map[string]int{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, text, _ := strings.Cut(lines.Text(), ":")
		if strings.HasSuffix(text, " kB") {
			var size int
			_, err := fmt.Sscan(text, &size)
			must(t, err)
			sizes[name] = size
		}
	}
	t.Logf("%d kB resident, %d kB of it its own", sizes["VmRSS"], sizes["RssAnon"])
	if sizes["VmRSS"] == 0 || sizes["VmRSS"] > idleMemory || sizes["RssAnon"] > idleOwn {
		t.Errorf("%d kB resident, %d kB of it its own, want at most %d and %d", sizes["VmRSS"], sizes["RssAnon"], idleMemory, idleOwn)
	}
}
