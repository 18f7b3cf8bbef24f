package kubelettest_test

import (
	"net/http"
	"testing"

	"fauxlet/kubelettest"
)

// TestRightsFromTheStart changes the rights of a user before any client can connect to the kubelet.
func TestRightsFromTheStart(t *testing.T) {
	t.Parallel()
	k, err := kubelettest.NewUnstarted(kubelettest.WithUser(kubelettest.User{Name: "prometheus", Token: true}))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	k.SetAllowed("prometheus", "get nodes/metrics")
	token := k.Token("prometheus") // a client can be configured with the token before the kubelet starts
	if err := k.Start(); err != nil {
		t.Fatal(err)
	}

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, k.URL+"/metrics/resource", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := k.Client(kubelettest.NoCredential).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("status %d, want 200", response.StatusCode)
	}
}
