package kubelettest

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"

	"fauxlet/internal/reviewapi"
	"fauxlet/testcerts"
)

// Reviews returns the TokenReviews and SubjectAccessReviews that the kubelet has sent, with their answers, in order.
// The result includes the reviews for each response that the test has received.
func (k *Kubelet) Reviews() []reviewapi.Record { return k.Reviewer.Reviews() }

// Checked returns the access that the kubelet has checked for a user by SubjectAccessReviews, in order and in the
// form of [User.Allow]: "get nodes/pods", "get nodes/proxy". A cached check is not repeated.
func (k *Kubelet) Checked(user string) []string {
	var checked []string
	for _, r := range k.Reviews() {
		// A kubelet checks resources only.
		if r.Access != nil && r.Access.User == user && r.Access.ResourceAttributes != nil {
			attributes := r.Access.ResourceAttributes
			checked = append(checked, attributes.Verb+" "+attributes.Resource+"/"+attributes.Subresource)
		}
	}
	return checked
}

// AssertChecked reports an error to the test unless [Kubelet.Checked] returns exactly these checks for a user.
func (k *Kubelet) AssertChecked(t testing.TB, user string, want ...string) {
	t.Helper()
	if checked := k.Checked(user); !slices.Equal(checked, want) {
		t.Errorf("the kubelet checked that user %q is allowed to %s\nwant %s", user, checks(checked), checks(want))
	}
}

func checks(all []string) string {
	if len(all) == 0 {
		return "(nothing)"
	}
	return strings.Join(all, ", then ")
}

// maxReviews is how many reviews are kept.
const maxReviews = 1 << 20

// newReviewer returns the review API with the users and their rights.
func newReviewer(logger *zap.Logger, ca *testcerts.Authority, users *users, o *options) (*reviewapi.Server, error) {
	options := reviewapi.Options{Records: maxReviews, CA: ca, Logger: logger}
	if o.authorizer != nil {
		options.Authorize = webhook(o.authorizer)
	}
	if o.reviewer != nil {
		options.Authenticate = o.reviewer.AuthenticationV1().TokenReviews().Create
		options.Authorize = o.reviewer.AuthorizationV1().SubjectAccessReviews().Create
	}
	server, err := reviewapi.New(options)
	if err != nil {
		return nil, err
	}
	return server, users.update(server)
}

// reviewClients returns the clients by which the kubelet sends its reviews to the review API, in memory. Their reviews
// end when ctx does.
func (k *Kubelet) reviewClients(ctx context.Context) (authenticationclient.AuthenticationV1Interface,
	authorizationclient.AuthorizationV1Interface, error) {
	config := k.Reviewer.RESTConfig("reviewer")
	config.ContentType = k.config.Kubelet.ContentType
	config.WrapTransport = k.faulty.RoundTripper
	return reviewapi.ClientsOf(config, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		merged, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		k.Reviewer.Handler().ServeHTTP(w, r.WithContext(merged))
	}))
}
