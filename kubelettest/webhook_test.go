package kubelettest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"

	"fauxlet/kubelettest"
)

// TestWithAuthorizer checks that the webhook's answer allows or denies access. If the webhook fails or its answer is
// invalid, access must be denied with a reason.
func TestWithAuthorizer(t *testing.T) {
	t.Parallel()
	var asked authorizationv1.SubjectAccessReview
	for name, test := range map[string]struct {
		answer  string
		code    int
		allowed bool
		why     string // the expected reason in the status of the review
	}{
		"allowed": {`{"status":{"allowed":true,"reason":"a friend"}}`, 200, true, "a friend"},
		"denied": {`{"status":{"allowed":false,"denied":true,"reason":"no friend"}}`, 200, false,
			"no friend"},
		"no opinion": {`{"status":{"allowed":false}}`, 201, false, ""},
		"both": {`{"status":{"allowed":true,"denied":true}}`, 200, false,
			"the webhook of WithAuthorizer: the response has both status.allowed and status.denied"},
		"an error": {"down for maintenance", 500, false,
			"the webhook of WithAuthorizer: the response has status 500: down for maintenance"},
		"an allowed error": {`{"status":{"allowed":true}}`, 404, false, "status 404"},
		"no review": {"yes", 200, false,
			"the webhook of WithAuthorizer: the response is not a SubjectAccessReview: "},
	} {
		t.Run(name, func(t *testing.T) {
			k := kubelettest.New(t, kubelettest.WithAuthorizer(
				http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					asked = authorizationv1.SubjectAccessReview{}
					if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
						t.Error(err)
					}
					w.WriteHeader(test.code)
					w.Write([]byte(test.answer))
				})))
			want := http.StatusForbidden
			if test.allowed {
				want = http.StatusOK
			}
			expect(t, k, "kubelet-client", logsPath, want, "")
			if asked.Kind != "SubjectAccessReview" || asked.APIVersion != "authorization.k8s.io/v1" ||
				asked.Spec.User != "kubelet-client" ||
				asked.Spec.ResourceAttributes.Subresource != "proxy" || asked.Spec.ResourceAttributes.Name != "node-1" {
				t.Errorf("the webhook received %+v", asked)
			}
			status := k.Reviews()[0].AccessStatus
			if why := status.Reason + status.EvaluationError; status.Allowed != test.allowed ||
				!strings.Contains(why, test.why) {
				t.Errorf("the review's status is %+v, want %v and %q", status, test.allowed, test.why)
			}
			k.AssertChecked(t, "kubelet-client", "get nodes/proxy")
		})
	}
}

// TestWithAuthorizerElsewhere checks that WithAuthorizer accepts a reverse proxy to a webhook that already runs as a
// server.
func TestWithAuthorizerElsewhere(t *testing.T) {
	t.Parallel()
	served := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte(`{"status":{"allowed":true,"reason":"` + r.Method + " " + r.URL.Path + `"}}`))
	}))
	defer served.Close()
	at, err := url.Parse(served.URL + "/authorize")
	if err != nil {
		t.Fatal(err)
	}
	k := kubelettest.New(t, kubelettest.WithAuthorizer(httputil.NewSingleHostReverseProxy(at)))
	expect(t, k, "kubelet-client", logsPath, 200, "")
	if reason, want := k.Reviews()[0].AccessStatus.Reason, "POST /authorize/"; reason != want {
		t.Errorf("reason %q, want %q", reason, want)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}
