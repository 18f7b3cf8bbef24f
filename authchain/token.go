package authchain

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/request/websocket"
	"k8s.io/apiserver/pkg/authentication/token/cache"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/webhook"
	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
)

// newTokenSteps returns the step for a token in the Authorization header and the step for a token in the WebSocket
// subprotocol. Both steps share one cache of TokenReviews. The cache keeps the results "authenticated" and "not
// authenticated", but no errors. (delegating.go)
func newTokenSteps(client authenticationv1.AuthenticationV1Interface, ttl time.Duration) (bearer,
	protocol authenticator.Request, err error) {
	authenticatorfactory.RegisterMetrics()
	client = authenticationv1.New(withoutWarnings{client.RESTClient()})
	sender, err := webhook.NewFromInterface(client, nil, retryBackoff, 0, webhook.AuthenticatorMetrics{
		RecordRequestTotal: func(ctx context.Context, code string) {
			if review := tokenReviewFrom(ctx); review != nil {
				review.answered = strings.HasPrefix(code, "2")
			}
			authenticatorfactory.RecordRequestTotal(ctx, code)
		},
		RecordRequestLatency: authenticatorfactory.RecordRequestLatency,
	})
	if err != nil {
		return nil, nil, err
	}
	reviewer := &tokenReviewer{sender: sender}
	// The cache is created when the first token arrives, because most nodes of a process with many nodes never
	// receive a token.
	cached := &recordedToken{reviewer: reviewer, cache: sync.OnceValue(func() authenticator.Token {
		return cache.New(reviewer, false, ttl, ttl)
	})}
	step := func(method Method, place string, next authenticator.Request) authenticator.Request {
		return recordedStep{method, next, func(_ *http.Request, s *Step) { explainToken(s, "no bearer token "+place) }}
	}
	return step(MethodBearerToken, "in the Authorization header", bearertoken.New(cached)),
		step(MethodWebSocketToken, "among the WebSocket subprotocols", websocket.NewProtocolAuthenticator(cached)), nil
}

// explainToken sets the reason of a token step that has not authenticated the user. If the request has no token for the
// step, the reason is the parameter noToken.
func explainToken(s *Step, noToken string) {
	var failed *failedReview
	switch {
	case s.Outcome == OutcomeAuthenticated:
	case s.Outcome == OutcomeSkipped:
		s.Reason = noToken
	case errors.As(s.err, &failed):
		s.Outcome = OutcomeError
		s.Reason = fmt.Sprintf("the TokenReview of token %s failed: %s", s.Token, explainFailedReview(s.err))
	case s.Token == "":
		s.Reason = s.err.Error()
	default:
		s.Reason = fmt.Sprintf("the TokenReview of token %s says: %s", s.Token, explainTokenError(s.err))
	}
}

// Fingerprint returns the first 8 hexadecimal digits of the SHA-256 of a token. Logs and Decisions show the
// fingerprint in place of the token: it distinguishes tokens without revealing them.
func Fingerprint(token string) string { return fingerprint(sha256.Sum256([]byte(token))) }

func fingerprint(sum [sha256.Size]byte) string { return hex.EncodeToString(sum[:4]) }

// recordedToken looks tokens up in the cache. In the current step, it records the fingerprint of the token and whether
// the result came from the cache. If there is no result, because the review failed or because the client left before
// the review ended, the error is a failedReview.
type recordedToken struct {
	reviewer *tokenReviewer
	cache    func() authenticator.Token
}

func (t *recordedToken) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	sum, start := sha256.Sum256([]byte(token)), time.Now()
	response, ok, err := t.cache().AuthenticateToken(ctx, token)
	decision := FromContext(ctx)
	step := decision.currentStep()
	step.Token = fingerprint(sum)
	review := t.reviewer.reviewedSince(sum, start)
	step.Cached = err == nil && review == nil
	if review != nil {
		decision.AddAffectedBy(review.affectedBy...)
	}
	var about *tokenError
	if err != nil && !errors.As(err, &about) {
		err = &failedReview{err}
	}
	if ok {
		reviewed, _ := response.User.(*reviewedUser)
		decision.secret = secret{token, reviewed}
	}
	return response, ok, err
}

// ignoredToken replaces the token steps when bearer tokens are turned off. It records that a bearer token was ignored.
type ignoredToken struct{}

func (ignoredToken) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	scheme, token, _ := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	if token != "" && strings.EqualFold(scheme, "bearer") {
		step := FromContext(r.Context()).beginStep(MethodBearerToken)
		step.Outcome = OutcomeSkipped
		step.Reason = "the bearer token was not read: authentication.webhook.enabled is false"
	}
	return nil, false, nil
}
