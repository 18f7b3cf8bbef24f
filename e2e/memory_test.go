package e2e

import (
	"net/http"
	"testing"
)

// What `fauxlet serve` may take when nobody asks it anything, in bytes: resident memory, of which most are pages of the
// program's own file that all its processes share, and what is its own.
const (
	idleMemory = 72 << 20
	idleOwn    = 20 << 20
)

// TestIdleMemory looks at a stand-in that has answered a request and has nothing to do.
func TestIdleMemory(t *testing.T) {
	reviews := startReviews(t)
	k := startKubelet(t, nil, kubeletOptions{kind: "fauxlet", kubeconfig: reviews.kubeconfig, settings: servingCertificate(t)})
	k.wants(t, "/pods", identity{}, http.StatusUnauthorized, "Unauthorized")
	used := usageOf(t, k.process)
	t.Logf("%d kB resident, %d kB of it its own", used.rss>>10, used.anonymous>>10)
	if used.rss == 0 || used.rss > idleMemory || used.anonymous > idleOwn {
		t.Errorf("%d kB resident, %d kB of it its own, want at most %d and %d", used.rss>>10, used.anonymous>>10, idleMemory>>10, idleOwn>>10)
	}
}
