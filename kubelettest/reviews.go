package kubelettest

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"

	"fauxlet/config"
	"fauxlet/internal/faulty"
	"fauxlet/internal/reviewapi"
)

// Reviews are what the kubelet asked the reviewer, and was answered: TokenReviews and SubjectAccessReviews, in order. Those of
// each response that the test has seen are there.
func (k *Kubelet) Reviews() []reviewapi.Record { return k.Reviewer.Reviews() }

// Asked are the questions about what a user may, in the order in which the kubelet asked them, and in the words of User.May:
// "get nodes/pods", "get nodes/proxy". Where the answers are remembered, it asks once.
func (k *Kubelet) Asked(user string) []string {
	var asked []string
	for _, r := range k.Reviews() {
		// A kubelet asks about resources alone.
		if r.Access != nil && r.Access.User == user && r.Access.ResourceAttributes != nil {
			about := r.Access.ResourceAttributes
			asked = append(asked, about.Verb+" "+about.Resource+"/"+about.Subresource)
		}
	}
	return asked
}

// AssertAsked fails the test, and lets it go on, unless the kubelet has asked exactly this about a user, in this order.
func (k *Kubelet) AssertAsked(t testing.TB, user string, want ...string) {
	t.Helper()
	if asked := k.Asked(user); !slices.Equal(asked, want) {
		t.Errorf("the kubelet asked whether user %q may %s\nwant %s", user, questions(asked), questions(want))
	}
}

func questions(all []string) string {
	if len(all) == 0 {
		return "(nothing)"
	}
	return strings.Join(all, ", then ")
}

// mostReviews is how many reviews are kept.
const mostReviews = 1 << 20

// reviews is the review API, which serves, and the kubelet's clients of it.
type reviews struct {
	server *reviewapi.Server
	tokens authenticationclient.AuthenticationV1Interface
	access authorizationclient.AuthorizationV1Interface

	asker  *http.Client
	cancel context.CancelFunc
	served chan error
}

func startReviews(logger *zap.Logger, users *users, cfg *config.Config, node *faulty.Node, o *options) (*reviews, error) {
	options := reviewapi.Options{Records: mostReviews, ErrorLog: zap.NewStdLog(logger)}
	if o.authorizer != nil {
		options.Authorize = webhook(o.authorizer)
	}
	r := &reviews{served: make(chan error, 1)}
	var err error
	if r.server, err = reviewapi.New(options); err != nil {
		return nil, err
	}
	if err := users.tell(r.server); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return nil, err
	}
	client := r.server.RESTConfig(listener.Addr().String())
	client.ContentType = cfg.Kubelet.ContentType
	client.NextProtos = []string{"http/1.1"} // a server of HTTP/2 that is stopped gives its connections a second
	if r.asker, err = rest.HTTPClientFor(client); err == nil {
		r.asker.Transport = node.RoundTripper(r.asker.Transport)
		if r.tokens, err = authenticationclient.NewForConfigAndClient(client, r.asker); err == nil {
			r.access, err = authorizationclient.NewForConfigAndClient(client, r.asker)
		}
	}
	if err != nil {
		listener.Close()
		return nil, err
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() { r.served <- r.server.Serve(ctx, listener) }()
	return r, nil
}

// stop waits until it has stopped.
func (r *reviews) stop() error {
	r.cancel()
	utilnet.CloseIdleConnectionsFor(r.asker.Transport)
	return <-r.served
}
