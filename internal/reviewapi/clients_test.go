package reviewapi

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// TestReviewInMemoryEndsWithItsContext checks that a review ends with its context even if the handler does not watch
// the context, as over a network.
func TestReviewInMemoryEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		defer close(release)
		_, access, err := ClientsOf(&rest.Config{Host: "in-memory"}, http.HandlerFunc(
			func(http.ResponseWriter, *http.Request) {
				cancel()
				<-release
			}))
		if err != nil {
			t.Fatal(err)
		}
		_, err = access.SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{},
			metav1.CreateOptions{})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want %v", err, context.Canceled)
		}
	})
}

func TestHandlerInMemoryFails(t *testing.T) {
	for want, fail := range map[string]func(){
		"panicked: out of reviews": func() { panic("out of reviews") },
		"ended its goroutine":      runtime.Goexit,
	} {
		_, access, err := ClientsOf(&rest.Config{Host: "in-memory"}, http.HandlerFunc(
			func(http.ResponseWriter, *http.Request) { fail() }))
		if err != nil {
			t.Fatal(err)
		}
		_, err = access.SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{},
			metav1.CreateOptions{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that contains %q", err, want)
		}
	}
}
