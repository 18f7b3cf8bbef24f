package host

import (
	"net/http"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fauxlet/internal/bootstrap"
)

// TestReviewsHaveTheirOwnLimits expects that requests with invalid tokens, which cause TokenReviews, do not delay
// SubjectAccessReviews or other requests to the apiserver.
func TestReviewsHaveTheirOwnLimits(t *testing.T) {
	config := &rest.Config{Host: "http://apiserver.invalid", QPS: 0.001, Burst: 10}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{connection: &bootstrap.Connection{Config: config}, client: client, transport: &http.Client{}}
	tokens, access, err := c.reviewClients(func(next http.RoundTripper) http.RoundTripper { return next })
	if err != nil {
		t.Fatal(err)
	}
	flood := tokens.RESTClient().GetRateLimiter()
	sent := 0
	for flood.TryAccept() {
		sent++
	}
	if sent != config.Burst {
		t.Errorf("%d TokenReviews were sent at once, want %d", sent, config.Burst)
	}
	if !access.RESTClient().GetRateLimiter().TryAccept() {
		t.Error("a SubjectAccessReview waits for TokenReviews")
	}
	if !client.CoreV1().RESTClient().GetRateLimiter().TryAccept() {
		t.Error("another request waits for TokenReviews")
	}
}
