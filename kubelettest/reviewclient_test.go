package kubelettest_test

import (
	"errors"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"fauxlet/internal/faults"
	"fauxlet/kubelettest"
)

// TestWithReviewClient checks that the kubelet's reviews can be sent to client-go's fake clientset, which has no REST
// client. Faults must apply to these reviews too.
func TestWithReviewClient(t *testing.T) {
	t.Parallel()
	client := fake.NewClientset()
	var failure error
	client.PrependReactor("create", "tokenreviews", func(action k8stesting.Action) (bool, runtime.Object, error) {
		review := action.(k8stesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
		review.Status = authenticationv1.TokenReviewStatus{Authenticated: review.Spec.Token != "",
			User: authenticationv1.UserInfo{Username: prometheus}}
		return true, review, nil
	})
	client.PrependReactor("create", "subjectaccessreviews", func(a k8stesting.Action) (bool, runtime.Object, error) {
		review := a.(k8stesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
		review.Status.Allowed = review.Spec.User == prometheus
		return true, review, failure
	})
	k := kubelettest.New(t, kubelettest.WithReviewClient(client),
		kubelettest.WithUser(kubelettest.User{Name: prometheus, Token: true}))

	expect(t, k, prometheus, logsPath, 200, "")
	expect(t, k, "kubelet-client", logsPath, 403, "Forbidden")
	k.AssertChecked(t, prometheus, "get nodes/proxy")

	for _, kind := range []string{faults.ReviewerDown, faults.ReviewerError, faults.ReviewerWrong} {
		end := k.Inject(faults.Fault{Kind: kind})
		expect(t, k, prometheus, logsPath, 401, "Unauthorized")
		end()
	}
	end := k.Inject(faults.Fault{Kind: faults.ReviewerError, Status: 403,
		Scope: faults.Scope{Review: faults.SubjectAccessReview}})
	expect(t, k, prometheus, logsPath, 500, "Authorization error")
	end()

	failure = apierrors.NewForbidden(schema.GroupResource{}, "", errors.New("the fake has failed"))
	expect(t, k, prometheus, logsPath, 500, "Authorization error")
	failure = nil
	expect(t, k, prometheus, logsPath, 200, "")
	if answer := k.Reviews()[len(k.Reviews())-3].Message; !strings.Contains(answer, "the fake has failed") {
		t.Errorf("the review failed with %q", answer)
	}
}
