package authchain

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/authorization/cel"
	"k8s.io/apiserver/plugin/pkg/authorizer/webhook"
	"k8s.io/apiserver/plugin/pkg/authorizer/webhook/metrics"
)

// newAuthorizer is the kubelet's BuildAuthz. The webhook is put together here rather than by authorizerfactory so that
// its metrics, which are called once for each review that is sent, also tell the Decision of it.
func newAuthorizer(config Config) (authorizer.UnconditionalAuthorizer, error) {
	switch config.Mode {
	case AlwaysAllow:
		return authorizerfactory.NewAlwaysAllowAuthorizer(), nil
	case Webhook:
		if config.AccessReviews == nil {
			return nil, ErrNoAccessReviews
		}
		return webhook.NewFromInterface(
			config.AccessReviews,
			config.AuthorizedTTL,
			config.UnauthorizedTTL,
			retryBackoff,
			authorizer.DecisionNoOpinion,
			countReviews{authorizerfactory.NewDelegatingAuthorizerMetrics()},
			cel.NewDefaultCompiler(),
		)
	case "":
		return nil, errors.New("no authorization mode specified")
	default:
		return nil, fmt.Errorf("unknown authorization mode %s", config.Mode)
	}
}

// authorize asks about each subresource in turn until one is allowed. An error ends it at once: the next question might
// have been allowed, but nobody could say whether this one was denied. (kubelet: InstallAuthFilter)
func (c *Chain) authorize(r *http.Request, decision *Decision) error {
	user := decision.User
	subresources := c.attributes.subresources(r.URL.Path)
	for _, subresource := range subresources {
		attrs := c.attributes.of(user, r, subresource)
		question := decision.ask(attrs)
		answer, reason, err := c.authorizer.Authorize(r.Context(), &attrs)
		question.Duration = time.Since(decision.Time) - question.Start
		question.Reason = reason
		question.Cached = err == nil && c.asks && question.Reviews == 0
		if err != nil {
			question.Result, question.err = CheckError, err
			return &Refusal{
				Status: http.StatusInternalServerError,
				Body: fmt.Sprintf("Authorization error (user=%s, verb=%s, resource=%s, subresource=%s)",
					user.GetName(), attrs.Verb, attrs.Resource, attrs.Subresource),
			}
		}
		if answer == authorizer.DecisionAllow {
			question.Result = CheckAllowed
			return nil
		}
		question.Result = CheckDenied
	}
	return &Refusal{
		Status: http.StatusForbidden,
		Body: fmt.Sprintf("Forbidden (user=%s, verb=%s, resource=%s, subresource(s)=%v)\n",
			user.GetName(), verbs[r.Method], "nodes", subresources),
	}
}

// countReviews are the webhook's metrics, and count on the side how many reviews a question took: none means that the
// answer came from the cache.
type countReviews struct{ metrics.AuthorizerMetrics }

func (c countReviews) RecordRequestTotal(ctx context.Context, code string) {
	if decision := FromContext(ctx); decision != nil {
		decision.asking().Reviews++
	}
	c.AuthorizerMetrics.RecordRequestTotal(ctx, code)
}
