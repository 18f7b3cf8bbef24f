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

// Reviews returns the TokenReviews and SubjectAccessReviews that the kubelet has sent, with their answers, in order. If
// the test has received the response to a request, the result includes the reviews for that request. Reviews may be
// called after [Kubelet.Close].
func (k *Kubelet) Reviews() []reviewapi.Record { return k.Reviewer.Reviews() }

// Checked returns the authorization checks of a user for which the kubelet has sent SubjectAccessReviews, in the order
// of the reviews. Each check has the form of a right in [User.Allow], for example "get nodes/pods". Denied checks are
// included. A check that the kubelet answered from its cache is not included, because the kubelet sent no review for
// it.
func (k *Kubelet) Checked(user string) []string {
	var checked []string
	for _, r := range k.Reviews() {
		// A test may itself send SubjectAccessReviews, and these may have no resource attributes. The kubelet's always
		// have them.
		if r.Access != nil && r.Access.User == user && r.Access.ResourceAttributes != nil {
			attributes := r.Access.ResourceAttributes
			checked = append(checked, attributes.Verb+" "+attributes.Resource+"/"+attributes.Subresource)
		}
	}
	return checked
}

// AssertChecked reports an error to the test t unless [Kubelet.Checked] returns exactly the wanted checks for the user,
// in the same order.
func (k *Kubelet) AssertChecked(t testing.TB, user string, want ...string) {
	t.Helper()
	if checked := k.Checked(user); !slices.Equal(checked, want) {
		t.Errorf("the kubelet's checks for user %q: %s\nwant: %s", user, checks(checked), checks(want))
	}
}

func checks(all []string) string {
	if len(all) == 0 {
		return "(nothing)"
	}
	return strings.Join(all, ", then ")
}

// maxReviews is the maximum number of reviews that Kubelet.Reviews returns.
const maxReviews = 1 << 20

// newReviewer returns the review API. By default, its answers depend on the users and their rights. The options
// WithAuthorizer and WithReviewClient change this.
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

// reviewClients returns the clients with which the kubelet sends its reviews. The clients call the handler of the
// review API in memory, without a network connection. When ctx ends, they cancel the reviews in progress.
func (k *Kubelet) reviewClients(ctx context.Context) (authenticationclient.AuthenticationV1Interface,
	authorizationclient.AuthorizationV1Interface, error) {
	config := k.Reviewer.RESTConfig("reviewer")
	config.ContentType = k.config.Kubelet.ContentType
	config.WrapTransport = func(next http.RoundTripper) http.RoundTripper {
		next = k.faulty.RoundTripper(next)
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			merged, cancel := context.WithCancel(r.Context())
			defer cancel()
			defer context.AfterFunc(ctx, cancel)()
			return next.RoundTrip(r.WithContext(merged)) // the response is in memory, so it can be read after cancel
		})
	}
	return reviewapi.ClientsOf(config, k.Reviewer.Handler())
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
