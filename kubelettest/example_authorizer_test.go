package kubelettest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"

	"fauxlet/kubelettest"
)

// auditors is the authorization webhook under test. It allows users whose names begin with auditor- to read, and denies
// all other access.
func auditors(w http.ResponseWriter, r *http.Request) {
	var review authorizationv1.SubjectAccessReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	attributes := review.Spec.ResourceAttributes
	switch {
	case attributes == nil || attributes.Verb != "get":
		review.Status.Reason = "auditors only look"
	case strings.HasPrefix(review.Spec.User, "auditor-"):
		review.Status.Allowed = true
	default:
		review.Status.Reason = "not an auditor"
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(review)
}

func TestAuthorizer(t *testing.T) {
	t.Parallel()
	k := kubelettest.New(t,
		kubelettest.WithAuthorizer(http.HandlerFunc(auditors)),
		kubelettest.WithUser(kubelettest.User{Name: "auditor-7"}),
		kubelettest.WithUser(kubelettest.User{Name: "developer"}))
	for _, test := range []struct {
		user, method, path string
		status             int
		why                string
	}{
		{"auditor-7", "GET", "/containerLogs/default/nginx/nginx", 200,
			`allowed: user "auditor-7" may get nodes/proxy`},
		{"auditor-7", "POST", "/run/default/nginx/nginx?cmd=id", 403,
			`refused: user "auditor-7" may not create nodes/proxy: auditors only look`},
		{"developer", "GET", "/logs/", 403, `refused: user "developer" may not get nodes/log: not an auditor`},
		{"developer", "GET", "/pods", 403,
			`refused: user "developer" may not get nodes/pods nor nodes/proxy: not an auditor`},
	} {
		request, err := http.NewRequestWithContext(t.Context(), test.method, k.URL+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := k.Client(test.user).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		decisions := k.Decisions()
		if why := decisions[len(decisions)-1].Why(); response.StatusCode != test.status || why != test.why {
			t.Errorf("%s %s: %d, %s; want %d, %s", test.method, test.path, response.StatusCode, why, test.status,
				test.why)
		}
	}
	k.AssertChecked(t, "developer", "get nodes/log", "get nodes/pods", "get nodes/proxy")
}
