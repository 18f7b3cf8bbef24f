package node

import (
	"net/http"
	"testing"

	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
	"fauxlet/e2e/internal/reviews"
)

// These limits, in bytes, apply to an idle `fauxlet serve`. The first one limits its resident memory, most of which is
// the program file and shared between processes. The second one limits its anonymous memory.
const (
	idleMemory = 72 << 20
	idleOwn    = 20 << 20
)

// TestIdleMemory measures the memory of a stand-in kubelet that has answered one request and is idle.
func TestIdleMemory(t *testing.T) {
	t.Parallel()
	reviews := reviews.Start(t)
	k := kubelet.Start(t, nil, kubelet.Options{Kind: "fauxlet", Kubeconfig: reviews.Kubeconfig,
		Settings: kubelet.ServingCertificate(t)})
	k.Expect(t, "/pods", kubelet.Credential{}, http.StatusUnauthorized, "Unauthorized")
	used := programs.UsageOf(t, k.Process)
	t.Logf("%d kB resident, %d kB of it its own", used.Resident>>10, used.Anonymous>>10)
	if used.Resident == 0 || used.Resident > idleMemory || used.Anonymous > idleOwn {
		t.Errorf("%d kB resident, %d kB of it its own, want at most %d and %d", used.Resident>>10, used.Anonymous>>10,
			idleMemory>>10, idleOwn>>10)
	}
}
