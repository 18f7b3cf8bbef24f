package authchain

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/authorization/cel"
	"k8s.io/apiserver/plugin/pkg/authorizer/webhook"
	"k8s.io/apiserver/plugin/pkg/authorizer/webhook/metrics"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"
)

// newAuthorizer builds the same authorizer as the kubelet's BuildAuthz. Unlike BuildAuthz, it does not build the
// webhook with authorizerfactory, because authorizerfactory cannot put a reviewCounter around the webhook's metrics.
// The webhook reports each review that it sends to its metrics, so the reviewCounter can count the reviews.
func newAuthorizer(config Config) (authorizer.UnconditionalAuthorizer, error) {
	switch config.Mode {
	case AlwaysAllow:
		return authorizerfactory.NewAlwaysAllowAuthorizer(), nil
	case Webhook:
		if config.AccessReviews == nil {
			return nil, ErrNoAccessReviews
		}
		client := authorizationv1.New(withoutWarnings{config.AccessReviews.RESTClient()})
		return webhook.NewFromInterface(client, config.AuthorizedTTL, config.UnauthorizedTTL,
			retryBackoff, authorizer.DecisionNoOpinion,
			reviewCounter{authorizerfactory.NewDelegatingAuthorizerMetrics()}, cel.NewDefaultCompiler())
	case "":
		return nil, errors.New("no authorization mode specified")
	default:
		return nil, fmt.Errorf("unknown authorization mode %s", config.Mode)
	}
}

// The method "authorize" checks the subresources in order until one is allowed. If a check ends with an error, it is
// unknown whether the user has access, so the response has the status 500 instead of 403. (kubelet: InstallAuthFilter)
func (c *Chain) authorize(r *http.Request, user user.Info, decision *Decision) error {
	subresources := c.legacy.Subresources(r.URL.Path, c.fineGrained)
	for _, subresource := range subresources {
		check := decision.beginCheck(verbs[r.Method], subresource, c.nodeName)
		result, reason, err := c.check(r, user, check, decision.Time.Add(check.Start))
		check.Duration = time.Since(decision.Time) - check.Start
		check.Reason = decision.secret.recordedReason(reason)
		check.Cached = err == nil && c.reviews != nil && check.Reviews == 0
		if err != nil {
			check.Result, check.err = CheckError, err
			return &Refusal{http.StatusInternalServerError, fmt.Sprintf(
				"Authorization error (user=%s, verb=%s, resource=%s, subresource=%s)",
				user.GetName(), check.Verb, check.Resource, check.Subresource)}
		}
		if result == authorizer.DecisionAllow {
			check.Result = CheckAllowed
			return nil
		}
		check.Result = CheckDenied
	}
	format := "Forbidden (user=%s, verb=%s, resource=nodes, subresource(s)=%v)\n"
	if c.legacy.OneSubresource {
		format = "Forbidden (user=%s, verb=%s, resource=nodes, subresource=%s)"
		return &Refusal{http.StatusForbidden, fmt.Sprintf(format, user.GetName(), verbs[r.Method], subresources[0])}
	}
	return &Refusal{http.StatusForbidden, fmt.Sprintf(format, user.GetName(), verbs[r.Method], subresources)}
}

// The method "check" returns the result of one authorization check of the user, which begins now.
func (c *Chain) check(r *http.Request, user user.Info, check *Check, now time.Time) (authorizer.Decision, string,
	error) {
	if c.reviews != nil {
		if cached := c.reviews.get(user, check.Verb, check.Subresource, now); cached != nil {
			return cached.result, cached.reason, nil
		}
	}
	ctx, attrs := r.Context(), attributesOf(user, r, c.nodeName, check.Subresource)
	if c.reviews == nil {
		return c.authorizer.Authorize(ctx, &attrs)
	}
	result, reason, err := c.authorizer.Authorize(withoutLog(ctx), &attrs)
	if err == nil && check.Reviews > 0 {
		c.reviews.put(&attrs, result, reason, now)
	}
	return result, reason, err
}

// reviewCounter wraps the webhook's metrics, and counts the reviews that were sent for each check. If no review was
// sent for a check, the result of the check came from the webhook's cache.
type reviewCounter struct{ metrics.AuthorizerMetrics }

func (c reviewCounter) RecordRequestTotal(ctx context.Context, code string) {
	if decision := FromContext(ctx); decision != nil {
		decision.currentCheck().Reviews++
	}
	c.AuthorizerMetrics.RecordRequestTotal(ctx, code)
}
