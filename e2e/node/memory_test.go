package node

import (
	"net/http"
	"testing"

	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
	"fauxlet/e2e/internal/reviews"
)

// These limits, in bytes, apply to an idle `fauxlet serve`. The constant idleMemory limits its resident memory. Most
// of the resident memory is the program file, which several processes can share. The constant idleOwn limits the
// anonymous memory, which belongs to the process alone.
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
	t.Logf("%d kB resident, %d kB of it anonymous", used.Resident>>10, used.Anonymous>>10)
	if used.Resident == 0 || used.Resident > idleMemory || used.Anonymous > idleOwn {
		t.Errorf("%d kB resident, %d kB of it anonymous, want at most %d and %d", used.Resident>>10, used.Anonymous>>10,
			idleMemory>>10, idleOwn>>10)
	}
}
