package offline

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	authenticationapi "k8s.io/api/authentication/v1"
	authorizationapi "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"

	"fauxlet/authchain"
	"fauxlet/internal/reviewapi"
)

// placeholder is sent in place of the original token, because a Decision contains only the token's fingerprint.
const placeholder = "the-token-of-the-decision"

var encodedPlaceholder = base64.RawURLEncoding.EncodeToString([]byte(placeholder))

// replay answers reviews with the results that a Decision recorded. Other reviews go to the reviewer, if there is one.
type replay struct {
	decision *authchain.Decision
	reviewer *reviewapi.Server // may be nil
}

// clients returns clients that send their reviews to the replay.
func (p *replay) clients() (authenticationv1.AuthenticationV1Interface, authorizationv1.AuthorizationV1Interface,
	error) {
	c := &rest.Config{Host: "http://offline", QPS: -1}
	if p.reviewer != nil {
		c = p.reviewer.RESTConfig("offline")
	}
	c.ContentType, c.AcceptContentTypes = "application/json", "application/json"
	return clientsOf(c, p)
}

// ServeHTTP answers a review. The response to a review without a known result is 403, which clients do not retry.
func (p *replay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		writeForbidden(w, err)
		return
	}
	reviewFunc := p.reviewAccess
	if strings.HasSuffix(r.URL.Path, "/tokenreviews") {
		reviewFunc = p.reviewToken
	}
	review, err := reviewFunc(body)
	switch {
	case err != nil:
		writeForbidden(w, err)
	case review != nil:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(review)
	default:
		r.Body = io.NopCloser(bytes.NewReader(body))
		p.reviewer.Handler().ServeHTTP(w, r)
	}
}

// reviewToken returns the TokenReview with its result, or nil if the reviewer has to answer it.
func (p *replay) reviewToken(body []byte) (any, error) {
	var review authenticationapi.TokenReview
	if err := json.Unmarshal(body, &review); err != nil {
		return nil, err
	}
	if review.Spec.Token != placeholder && p.reviewer != nil {
		return nil, nil
	}
	for i := range p.decision.Authentication {
		s := &p.decision.Authentication[i]
		if s.Token == "" || s.Outcome == authchain.OutcomeError {
			continue
		}
		if s.Outcome == authchain.OutcomeAuthenticated {
			user := p.decision.User
			review.Status.Authenticated = true
			review.Status.User = authenticationapi.UserInfo{
				Username: user.GetName(), UID: user.GetUID(), Groups: user.GetGroups(),
				Extra: map[string]authenticationapi.ExtraValue{},
			}
			for key, values := range user.GetExtra() {
				review.Status.User.Extra[key] = values
			}
		}
		return &review, nil
	}
	return nil, errors.New("the original request had no review of this token, and the token is not stored")
}

// reviewAccess returns the SubjectAccessReview with its result, or nil if the reviewer has to answer it.
func (p *replay) reviewAccess(body []byte) (any, error) {
	if p.reviewer != nil {
		return nil, nil
	}
	var review authorizationapi.SubjectAccessReview
	if err := json.Unmarshal(body, &review); err != nil {
		return nil, err
	}
	spec, user := &review.Spec, p.decision.User
	unknown := fmt.Errorf("the original request had no SubjectAccessReview about this for user %q, "+
		"and what-if sends none", spec.User)
	if user == nil || spec.ResourceAttributes == nil ||
		user.GetName() != spec.User || !slices.Equal(user.GetGroups(), spec.Groups) {
		return nil, unknown
	}
	for i := range p.decision.Authorization {
		if c := &p.decision.Authorization[i]; reviewed(c) && isAbout(c, spec.ResourceAttributes) {
			review.Status = authorizationapi.SubjectAccessReviewStatus{
				Allowed: c.Result == authchain.CheckAllowed, Reason: c.Reason,
			}
			return &review, nil
		}
	}
	return nil, unknown
}

// reviewed reports whether the result of a check came from a SubjectAccessReview.
func reviewed(c *authchain.Check) bool {
	return (c.Reviews > 0 || c.Cached) && c.Result != authchain.CheckError
}

func isAbout(c *authchain.Check, a *authorizationapi.ResourceAttributes) bool {
	return c.Verb == a.Verb && c.Resource == a.Resource && c.Subresource == a.Subresource && c.Name == a.Name
}

// restoreToken replaces the placeholder's fingerprint in a Decision by the fingerprint of the original token.
func (p *replay) restoreToken(d *authchain.Decision) {
	original := "?"
	for i := range p.decision.Authentication {
		if token := p.decision.Authentication[i].Token; token != "" {
			original = token
		}
	}
	replaced := authchain.Fingerprint(placeholder)
	for i := range d.Authentication {
		s := &d.Authentication[i]
		if s.Token == replaced {
			s.Token = original
		}
		s.Reason = strings.ReplaceAll(s.Reason, replaced, original)
	}
}

func writeForbidden(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusForbidden)
	_ = json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden,
		Message: err.Error(),
	})
}
