package kubelettest_test

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"fauxlet/kubelettest"
)

// down is the function under test. It returns the nodes whose kubelets do not pass their health check.
func down(ctx context.Context, client *http.Client, kubelets map[string]string) (down []string) {
	for node, url := range kubelets {
		if !healthy(ctx, client, url) {
			down = append(down, node)
		}
	}
	slices.Sort(down)
	return down
}

func healthy(ctx context.Context, client *http.Client, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/healthz", nil)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func TestNodeDown(t *testing.T) {
	t.Parallel()
	one := kubelettest.New(t)
	two := kubelettest.New(t, kubelettest.WithNodeName("node-2"), kubelettest.WithCA(one.CA))
	kubelets := map[string]string{one.NodeName: one.URL, two.NodeName: two.URL}
	client := one.Client("kubelet-client") // both kubelets accept the client, because they have the same CA

	expect := func(what string, want ...string) {
		t.Helper()
		if got := down(t.Context(), client, kubelets); !slices.Equal(got, want) {
			t.Errorf("%s: the nodes %q are down, want %q", what, got, want)
		}
	}
	expect("at first")
	end := two.Inject(kubelettest.Fault{Kind: "connection-refused"})
	expect("connections are refused", "node-2")
	end()
	expect("connections are accepted again")
	two.Inject(kubelettest.Fault{Kind: "status", Status: 500, Scope: kubelettest.Scope{Route: "/healthz"}})
	expect("the health check fails", "node-2")
	two.Close()
	expect("the kubelet is closed", "node-2")
}
