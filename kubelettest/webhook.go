package kubelettest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// webhook returns an authorizer that calls a webhook as a kube-apiserver does. If the webhook fails, access is not
// allowed, and the evaluationError of the review is the error of the webhook, as in a kube-apiserver with failurePolicy
// NoOpinion. Unlike a kube-apiserver, the authorizer does not retry after a response with status 5xx, because a retry
// would make tests slow. (k8s.io/apiserver: plugin/pkg/authorizer/webhook)
func webhook(handler http.Handler) func(context.Context, *authorizationv1.SubjectAccessReview, metav1.CreateOptions) (
	*authorizationv1.SubjectAccessReview, error) {
	return func(ctx context.Context, review *authorizationv1.SubjectAccessReview, _ metav1.CreateOptions) (
		*authorizationv1.SubjectAccessReview, error) {
		answer := &authorizationv1.SubjectAccessReview{}
		if err := callWebhook(ctx, handler, review, answer); err != nil {
			answer.Status = authorizationv1.SubjectAccessReviewStatus{
				EvaluationError: "the webhook of WithAuthorizer: " + err.Error()}
		}
		return answer, nil
	}
}

func callWebhook(ctx context.Context, handler http.Handler, review, answer *authorizationv1.SubjectAccessReview) error {
	body, err := json.Marshal(authorizationv1.SubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: authorizationv1.SchemeGroupVersion.String(), Kind: "SubjectAccessReview"},
		Spec:     review.Spec,
	})
	if err != nil {
		return err
	}
	request := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	response := httptest.NewRecorder()
	handler.ServeHTTP(response, request)
	if response.Code < 200 || response.Code > 299 {
		return fmt.Errorf("the response has status %d: %.200s", response.Code, response.Body)
	}
	if err := json.Unmarshal(response.Body.Bytes(), answer); err != nil {
		return fmt.Errorf("the response is not a SubjectAccessReview: %w", err)
	}
	if answer.Status.Allowed && answer.Status.Denied {
		return errors.New("the response has both status.allowed and status.denied; set only one")
	}
	return nil
}
