package kubelettest_test

import (
	"net/http"
	"testing"

	"fauxlet/kubelettest"
)

// TestRightsFromTheStart changes what a user is allowed to do before any client can connect.
func TestRightsFromTheStart(t *testing.T) {
	t.Parallel()
	k, err := kubelettest.NewUnstarted(kubelettest.WithUser(kubelettest.User{Name: "prometheus", Token: true}))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	k.SetAllowed("prometheus", "get nodes/metrics")
	token := k.Token("prometheus") // for the configuration of a client
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
