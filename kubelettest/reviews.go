package kubelettest

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"

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
	if client := o.reviewer; client != nil {
		options.Authenticate = func(ctx context.Context, spec authenticationv1.TokenReviewSpec) (
			authenticationv1.TokenReviewStatus, error) {
			answer, err := client.AuthenticationV1().TokenReviews().Create(ctx,
				&authenticationv1.TokenReview{Spec: spec}, metav1.CreateOptions{})
			if err != nil {
				return authenticationv1.TokenReviewStatus{}, err
			}
			return answer.Status, nil
		}
		options.Authorize = func(ctx context.Context, spec authorizationv1.SubjectAccessReviewSpec) (
			authorizationv1.SubjectAccessReviewStatus, error) {
			answer, err := client.AuthorizationV1().SubjectAccessReviews().Create(ctx,
				&authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
			if err != nil {
				return authorizationv1.SubjectAccessReviewStatus{}, err
			}
			return answer.Status, nil
		}
	}
	server, err := reviewapi.New(options)
	if err != nil {
		return nil, err
	}
	return server, users.update(server)
}

// reviews is a running review API, with the clients by which the kubelet sends its reviews.
type reviews struct {
	tokens authenticationclient.AuthenticationV1Interface
	access authorizationclient.AuthorizationV1Interface

	client *http.Client
	cancel context.CancelFunc
	served chan error
}

// startReviews starts the review API. The clients send their reviews through the transport that wrap returns.
func startReviews(server *reviewapi.Server, contentType string,
	wrap func(http.RoundTripper) http.RoundTripper) (*reviews, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return nil, err
	}
	config := server.RESTConfig(listener.Addr().String())
	config.ContentType = contentType
	config.NextProtos = []string{"http/1.1"} // when it stops, an HTTP/2 server waits a second for its connections
	r := &reviews{served: make(chan error, 1)}
	if r.client, err = rest.HTTPClientFor(config); err == nil {
		r.client.Transport = wrap(r.client.Transport)
		if r.tokens, err = authenticationclient.NewForConfigAndClient(config, r.client); err == nil {
			r.access, err = authorizationclient.NewForConfigAndClient(config, r.client)
		}
	}
	if err != nil {
		listener.Close()
		return nil, err
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() { r.served <- server.Serve(ctx, listener) }()
	return r, nil
}

// stop stops the review API and waits until it has stopped.
func (r *reviews) stop() error {
	r.cancel()
	utilnet.CloseIdleConnectionsFor(r.client.Transport)
	return <-r.served
}
