package node

import (
	"net/http"
	"testing"

	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
	"fauxlet/e2e/internal/reviews"
)

// What `fauxlet serve` may take when nobody asks it anything, in bytes: resident memory, of which most are pages of the
// program's own file that all its processes share, and what is its own.
const (
	idleMemory = 72 << 20
	idleOwn    = 20 << 20
)

// TestIdleMemory looks at a stand-in that has answered a request and has nothing to do.
func TestIdleMemory(t *testing.T) {
	t.Parallel()
	reviews := reviews.Start(t)
	k := kubelet.Start(t, nil, kubelet.Options{Kind: "fauxlet", Kubeconfig: reviews.Kubeconfig, Settings: kubelet.ServingCertificate(t)})
	k.Expect(t, "/pods", kubelet.Credential{}, http.StatusUnauthorized, "Unauthorized")
	used := programs.UsageOf(t, k.Process)
	t.Logf("%d kB resident, %d kB of it its own", used.Resident>>10, used.Anonymous>>10)
	if used.Resident == 0 || used.Resident > idleMemory || used.Anonymous > idleOwn {
		t.Errorf("%d kB resident, %d kB of it its own, want at most %d and %d", used.Resident>>10, used.Anonymous>>10, idleMemory>>10, idleOwn>>10)
	}
}
