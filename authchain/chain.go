// Package authchain decides whether a request may pass, as a kubelet decides it: a client certificate, then a bearer
// token, then anonymous; then one or two questions to the authorizer. The authenticators and authorizers are those of
// k8s.io/apiserver that the kubelet itself is made of, put together in the same order; what this package adds is that
// every step is told. Each request yields a [Decision]: which step took it, refused it or broke on it, who the user is,
// what was asked about that user, and whether the answer came from a cache.
//
// Sources of the behaviour: cmd/kubelet/app/auth.go and pkg/kubelet/server/{auth,server}.go of k8s.io/kubernetes, and
// pkg/authentication/authenticatorfactory/delegating.go of k8s.io/apiserver, all v1.37.
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
	"k8s.io/apiserver/pkg/authentication/request/union"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"
)

// The values of the kubelet's authorization.mode.
const (
	AlwaysAllow = "AlwaysAllow"
	Webhook     = "Webhook"
)

// Config says which steps the chain has. Its fields are the kubelet's `authentication` and `authorization`.
type Config struct {
	// NodeName is the name that the authorizer is asked about: may this user get nodes/NodeName/proxy?
	NodeName string

	// ClientCA verifies client certificates (authentication.x509.clientCAFile). It is asked at each request, so that it
	// may change. Nil: no client certificate is looked at.
	ClientCA CAProvider

	// TokenWebhook says whether bearer tokens are looked at (authentication.webhook.enabled); TokenReviews is where they
	// are reviewed, and TokenTTL how long an answer is kept (authentication.webhook.cacheTTL; 0 keeps none).
	TokenWebhook bool
	TokenReviews authenticationv1.AuthenticationV1Interface
	TokenTTL     time.Duration

	// Anonymous lets a request without any credential in, as system:anonymous (authentication.anonymous.enabled).
	Anonymous bool

	// Mode is AlwaysAllow or Webhook (authorization.mode); AccessReviews is where Webhook asks, and the two TTLs how long
	// an answer is kept (authorization.webhook.cache{A,Una}uthorizedTTL; 0 keeps none).
	Mode            string
	AccessReviews   authorizationv1.AuthorizationV1Interface
	AuthorizedTTL   time.Duration
	UnauthorizedTTL time.Duration

	// FineGrained asks for nodes/pods, nodes/healthz and nodes/configz before nodes/proxy, where they apply (feature gate
	// KubeletFineGrainedAuthz, which cannot be turned off in v1.37; false asks as kubelets before it did).
	FineGrained bool
}

// CAProvider returns the roots that client certificates are verified against, or false if there are none yet. A changed
// set of roots must be a new pool. The dynamic CA of k8s.io/apiserver/pkg/server/dynamiccertificates is a CAProvider.
//
// A CAProvider may also have the method
//
//	VerifyChain(chain []*x509.Certificate) error
//
// Then a client certificate is accepted only if VerifyChain returns nil for a chain that verified, leaf first. Accepted
// certificates are remembered while VerifyOptions returns the same roots and no CurrentTime.
type CAProvider interface {
	VerifyOptions() (x509.VerifyOptions, bool)
}

// retryBackoff is how a review that failed is tried again: 5 times in all, within about 4.5 s. Who is refused, 401 or 403,
// is refused at once. (k8s.io/apiserver/pkg/server/options, DefaultAuthWebhookRetryBackoff; written here because that
// package is a whole apiserver's)
var retryBackoff = wait.Backoff{Duration: 500 * time.Millisecond, Factor: 1.5, Jitter: 0.2, Steps: 5}

// Chain authenticates and authorizes requests. It is safe for concurrent use.
type Chain struct {
	authenticator authenticator.Request
	authorizer    authorizer.UnconditionalAuthorizer
	attributes    attributes
	// asks: the authorizer has somebody to ask.
	asks bool
}

// What New says, in the kubelet's words, where a webhook is wanted and there is nobody to ask.
var (
	ErrNoTokenReviews  = errors.New("no client provided, cannot use webhook authentication")
	ErrNoAccessReviews = errors.New("no client provided, cannot use webhook authorization")
)

// New builds the chain of config. It fails, in the kubelet's words, where a webhook is wanted and there is nobody to
// ask, and on an unknown mode.
func New(config Config) (*Chain, error) {
	authn, err := newAuthenticator(config)
	if err != nil {
		return nil, err
	}
	authz, err := newAuthorizer(config)
	if err != nil {
		return nil, err
	}
	return &Chain{
		authenticator: authn,
		authorizer:    authz,
		attributes:    attributes{nodeName: config.NodeName, fineGrained: config.FineGrained},
		asks:          config.Mode == Webhook,
	}, nil
}

// newAuthenticator is the order of the chain. All of x509, bearer token and WebSocket token are tried until one
// succeeds, and their errors are gathered; anonymous is reached only when none of them had an error to report.
// (delegating.go, DelegatingAuthenticatorConfig.New)
func newAuthenticator(config Config) (authenticator.Request, error) {
	steps := []authenticator.Request{newX509Step(config.ClientCA)}

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
		steps = append(steps, unreadToken{})
	}

	credential := group.NewAuthenticatedGroupAdder(union.New(steps...))
	if !config.Anonymous {
		return credential, nil
	}
	return union.NewFailOnError(credential, newAnonymousStep()), nil
}

// Decide authenticates and authorizes r, which carries a Decision (see [NewDecision]) that is filled in on the way. The
// error, where there is one, is a [*Refusal]: the answer that a kubelet gives.
//
// A credential that was accepted is removed from r, as the kubelet's authenticators do.
func (c *Chain) Decide(r *http.Request) error {
	decision := FromContext(r.Context())
	if decision == nil {
		return errors.New("authchain: the request carries no Decision")
	}
	response, ok, err := c.authenticator.AuthenticateRequest(r)
	if err != nil || !ok {
		return &Refusal{Status: http.StatusUnauthorized, Body: "Unauthorized"}
	}
	decision.User = response.User
	return c.authorize(r, decision)
}

// Refusal is the answer to a request that may not pass: 401, 403, or 500 when nobody could tell.
type Refusal struct {
	Status int
	// Body is the response's body, to the byte.
	Body string
}

func (r *Refusal) Error() string { return fmt.Sprintf("%d %s", r.Status, r.Body) }
