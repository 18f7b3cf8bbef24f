package e2e

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
)

// idleMemory is what `fauxlet serve` may take when nobody asks it anything, in kB of resident memory.
const idleMemory = 50 << 10

// TestIdleMemory looks at a stand-in that has answered a request and has nothing to do.
func TestIdleMemory(t *testing.T) {
	reviews := startReviews(t)
	k := startKubelet(t, nil, kubeletOptions{kind: "fauxlet", kubeconfig: reviews.kubeconfig, settings: servingCertificate(t)})
	k.wants(t, "/pods", identity{}, http.StatusUnauthorized, "Unauthorized")
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", k.cmd.Process.Pid))
	must(t, err)
	defer file.Close()
	resident := 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			_, err := fmt.Sscan(text, &resident)
			must(t, err)
		}
	}
	t.Logf("%d kB resident", resident)
	if resident == 0 || resident > idleMemory {
		t.Errorf("%d kB resident, want at most %d", resident, idleMemory)
	}
}
