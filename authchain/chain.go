// Package authchain authenticates and authorizes a request as a kubelet does, and records each step of the decision.
//
// A [Chain] tries a client certificate, then a bearer token, then anonymous access. The authorizer then checks one or
// two permissions of the user on the node. The authenticators and authorizers are the ones from k8s.io/apiserver that
// the kubelet uses, in the kubelet's order. This package adds the record: [Chain.Decide] returns a [Decision] with the
// outcome of each authentication step, the user, the result of each authorization check, and whether a cache supplied
// each result.
//
// Begin with [New] and [Chain.Decide].
//
// This package sets the filter of klog (klog.SetLogFilter), so that the webhooks do not log the errors of reviews: an
// error could repeat the token. A program that sets its own filter must remove these errors itself.
//
// Sources in Kubernetes v1.37: cmd/kubelet/app/auth.go and pkg/kubelet/server/{auth,server}.go of k8s.io/kubernetes,
// and pkg/authentication/authenticatorfactory/delegating.go of k8s.io/apiserver.
package authchain

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/request/union"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"
)

// These are the values of [Config.Mode] and of the kubelet's authorization.mode.
const (
	// AlwaysAllow allows every authenticated request.
	AlwaysAllow = "AlwaysAllow"
	// Webhook sends a SubjectAccessReview for each check.
	Webhook = "Webhook"
)

// Config configures a [Chain]. Its fields correspond to `authentication` and `authorization` in the
// KubeletConfiguration.
type Config struct {
	// NodeName is the name of the node in authorization checks such as: may the user get nodes/proxy of NodeName?
	NodeName string

	// ClientCA supplies the CAs for client certificates (authentication.x509.clientCAFile). The chain calls it for
	// each request, so the CAs may change. If ClientCA is nil, the chain ignores client certificates.
	ClientCA CAProvider

	// TokenWebhook turns on bearer tokens (authentication.webhook.enabled). The chain then sends a TokenReview to
	// TokenReviews for each token, and caches the result for TokenTTL (authentication.webhook.cacheTTL). A TTL of 0
	// disables the cache.
	TokenWebhook bool
	TokenReviews authenticationv1.AuthenticationV1Interface
	TokenTTL     time.Duration

	// Anonymous accepts a request without any credential as the user system:anonymous
	// (authentication.anonymous.enabled).
	Anonymous bool

	// Mode is AlwaysAllow or Webhook (authorization.mode). With Webhook, the chain sends a SubjectAccessReview to
	// AccessReviews for each check. It caches the result for AuthorizedTTL or UnauthorizedTTL
	// (authorization.webhook.cacheAuthorizedTTL and cacheUnauthorizedTTL). A TTL of 0 disables the cache.
	Mode            string
	AccessReviews   authorizationv1.AuthorizationV1Interface
	AuthorizedTTL   time.Duration
	UnauthorizedTTL time.Duration

	// If FineGrained is true, the chain checks nodes/pods, nodes/healthz or nodes/configz before nodes/proxy, for the
	// paths that have such a subresource (feature gate KubeletFineGrainedAuthz). A kubelet v1.36 or v1.37 always does
	// so; false is the behaviour of older kubelets.
	FineGrained bool

	// Legacy turns on what older kubelets do. Its zero value is the behaviour of a kubelet v1.37.
	Legacy Legacy
}

// Legacy is the behaviour of older kubelets.
type Legacy struct {
	// OneSubresource makes a 403 name one subresource, without a line feed at the end (before v1.32).
	OneSubresource bool
	// NoCredentialID omits the extra attribute authentication.kubernetes.io/credential-id from the user of a client
	// certificate (before v1.32).
	NoCredentialID bool
	// NoUID omits the UID from the user of a client certificate (before v1.33).
	NoUID bool
	// ProxyPaths are paths such as /allocatedPods for which only nodes/proxy is checked, because the kubelet does not
	// know them.
	ProxyPaths []string
}

// CAProvider supplies the options for verifying client certificates, in particular the root CAs. VerifyOptions returns
// false while there are no CAs. To change the roots, VerifyOptions must return a new pool; a pool that it has returned
// must not be changed. A CAProvider must be safe for concurrent use. The dynamic CA of
// k8s.io/apiserver/pkg/server/dynamiccertificates is a CAProvider.
type CAProvider interface {
	VerifyOptions() (x509.VerifyOptions, bool)
}

// ChainVerifier is an optional interface of a [CAProvider]. After a client certificate has been verified, VerifyChain
// may still refuse it. The chain of certificates begins with the client certificate and ends with a root. If
// VerifyChain returns an error, its text becomes the reason of the refused authentication step.
//
// The chain caches verified certificates, and does not call VerifyChain for a certificate in the cache. A provider that
// sets CurrentTime in its VerifyOptions turns this cache off.
type ChainVerifier interface {
	VerifyChain(chain []*x509.Certificate) error
}

// retryBackoff makes the webhooks repeat a failed review up to four times within about 4.5 s. A review that the
// apiserver refuses with 401 or 403 is not repeated. The value is copied from k8s.io/apiserver/pkg/server/options,
// DefaultAuthWebhookRetryBackoff, because importing that package would link a whole apiserver.
var retryBackoff = wait.Backoff{Duration: 500 * time.Millisecond, Factor: 1.5, Jitter: 0.2, Steps: 5}

// Chain authenticates and authorizes requests. It is safe for concurrent use.
type Chain struct {
	authenticator authenticator.Request
	authorizer    authorizer.UnconditionalAuthorizer
	nodeName      string
	fineGrained   bool
	legacy        Legacy
	// reviews is nil if the authorizer does not send SubjectAccessReviews. If it does, a check for which no review was
	// sent got its result from a cache.
	reviews *reviewCache
}

// [New] returns these errors if the configuration turns on a webhook for which the Config has no client. The texts are
// the same as the kubelet's.
var (
	ErrNoTokenReviews  = errors.New("no client provided, cannot use webhook authentication")
	ErrNoAccessReviews = errors.New("no client provided, cannot use webhook authorization")
)

// New returns the chain for a configuration. The error is [ErrNoTokenReviews] or [ErrNoAccessReviews] if the client for
// a webhook is missing. A missing or unknown Mode is also an error. A Chain needs no closing.
func New(config Config) (*Chain, error) {
	authn, err := newAuthenticator(config)
	if err != nil {
		return nil, err
	}
	authz, err := newAuthorizer(config)
	if err != nil {
		return nil, err
	}
	c := &Chain{authenticator: authn, authorizer: authz, nodeName: config.NodeName, fineGrained: config.FineGrained,
		legacy: config.Legacy}
	if config.Mode == Webhook {
		c.reviews = newReviewCache(config)
	}
	return c, nil
}

// newAuthenticator sets the order of the authentication steps. It tries the client certificate, the bearer token and
// the WebSocket token until one step succeeds. It tries anonymous access only if all three steps were skipped.
// (delegating.go, DelegatingAuthenticatorConfig.New)
func newAuthenticator(config Config) (authenticator.Request, error) {
	steps := []authenticator.Request{newX509Step(config.ClientCA, config.Legacy)}
	if config.TokenWebhook {
		if config.TokenReviews == nil {
			return nil, ErrNoTokenReviews
		}
		bearer, websocket, err := newTokenSteps(config.TokenReviews, config.TokenTTL)
		if err != nil {
			return nil, err
		}
		steps = append(steps, bearer, websocket)
	} else {
		steps = append(steps, ignoredToken{})
	}
	credential := group.NewAuthenticatedGroupAdder(union.New(steps...))
	if !config.Anonymous {
		return credential, nil
	}
	return union.NewFailOnError(credential, recordedStep{method: MethodAnonymous,
		authenticator: anonymous.NewAuthenticator(nil), explain: func(*http.Request, *Step) {}}), nil
}

// Decide authenticates and authorizes r, and returns the Decision about r, which is never nil. If the request is not
// allowed, the error is a [*Refusal], which holds the response that a kubelet would send.
//
// If the context of r carries a Decision (see [NewDecision]), Decide completes and returns that Decision.
//
// Decide removes an accepted credential from the headers of r, as the kubelet's authenticators do.
func (c *Chain) Decide(r *http.Request) (*Decision, error) {
	decision := FromContext(r.Context())
	if decision == nil {
		decision, r = NewDecision(r)
	}
	defer func() { decision.secret = secret{} }()
	response, ok, err := c.authenticator.AuthenticateRequest(r)
	if err != nil || !ok {
		return decision, &Refusal{Status: http.StatusUnauthorized, Body: "Unauthorized"}
	}
	decision.User = decision.secret.recordedUser(response.User)
	return decision, c.authorize(r, response.User, decision)
}

// Refusal is the response to a request that is not allowed: 401 if it is not authenticated, 403 if it is not
// authorized, 500 if an authorization check failed.
type Refusal struct {
	Status int
	// Body is the complete body of the response.
	Body string
}

func (r *Refusal) Error() string { return fmt.Sprintf("%d %s", r.Status, r.Body) }
