package review

import (
	"context"
	"os"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func TestReal(t *testing.T) {
	if os.Getenv("REAL") == "" {
		return
	}
	c := kubernetes.NewForConfigOrDie(&rest.Config{Host: "https://127.0.0.1:16443", BearerToken: "admintoken", TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	n := 0
	for name, q := range answers() {
		r, err := c.AuthorizationV1().SubjectAccessReviews().Create(context.Background(), &authorizationv1.SubjectAccessReview{Spec: q.spec()}, metav1.CreateOptions{})
		if err != nil {
			t.Error(name, err)
			continue
		}
		n++
		if r.Status.Allowed != q.allowed || r.Status.Reason != q.reason || r.Status.EvaluationError != "" {
			t.Errorf("%s: real: %v %q %q; want %v %q", name, r.Status.Allowed, r.Status.Reason, r.Status.EvaluationError, q.allowed, q.reason)
		}
	}
	t.Log(n, "asked")
}
