package kubelettest_test

import (
	"net/http"
	"testing"

	"fauxlet/kubelettest"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	k := kubelettest.New(t, kubelettest.WithUser(kubelettest.User{
		Name: "prometheus", Token: true, Allow: []string{"get nodes/metrics"},
	}))

	response, err := k.Client("prometheus").Get(k.URL + "/metrics/resource")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("status %d: %s", response.StatusCode, k.Decisions()[0].Why())
	}
	k.AssertChecked(t, "prometheus", "get nodes/metrics")
}
