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

// The constant "placeholder" is the token of a request that is rebuilt from a Decision. The original token is unknown,
// because a Decision contains only the fingerprint of a token.
const placeholder = "the-token-of-the-decision"

var encodedPlaceholder = base64.RawURLEncoding.EncodeToString([]byte(placeholder))

// replay answers TokenReviews and SubjectAccessReviews. If there is no reviewer, replay takes all answers from the
// Decision. If there is a reviewer, it answers all reviews except TokenReviews of the constant "placeholder": their
// answers still come from the Decision, because the reviewer cannot check a token that is unknown.
type replay struct {
	decision *authchain.Decision
	reviewer *reviewapi.Server // may be nil
}

// The method "clients" returns API clients that send their reviews to ServeHTTP in memory.
func (p *replay) clients() (authenticationv1.AuthenticationV1Interface, authorizationv1.AuthorizationV1Interface,
	error) {
	c := &rest.Config{Host: "http://offline", QPS: -1}
	if p.reviewer != nil {
		c = p.reviewer.RESTConfig("offline")
	}
	c.ContentType, c.AcceptContentTypes = "application/json", "application/json"
	return reviewapi.ClientsOf(c, p)
}

// ServeHTTP answers a TokenReview or SubjectAccessReview. If the answer must come from the Decision, but the Decision
// does not contain it, the response has status 403, because clients do not retry after a 403.
func (p *replay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var answer any
	var token authenticationapi.TokenReview
	var access authorizationapi.SubjectAccessReview
	if strings.HasSuffix(r.URL.Path, "/tokenreviews") {
		err = errors.Join(err, json.Unmarshal(body, &token))
		if p.reviewer == nil || token.Spec.Token == placeholder {
			err = errors.Join(err, p.reviewToken(&token))
			answer = token
		}
	} else if p.reviewer == nil {
		err = errors.Join(err, json.Unmarshal(body, &access), p.reviewAccess(&access))
		answer = access
	}
	if err == nil && answer == nil {
		r.Body = io.NopCloser(bytes.NewReader(body))
		p.reviewer.Handler().ServeHTTP(w, r)
		return
	}
	status := http.StatusCreated
	if err != nil {
		status = http.StatusForbidden
		answer = metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Message: err.Error(),
			Status: metav1.StatusFailure, Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden,
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

func (p *replay) reviewToken(review *authenticationapi.TokenReview) error {
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
		return nil
	}
	return errors.New("the original request had no TokenReview of its token, and what-if cannot send one " +
		"because a decision does not contain the token")
}

func (p *replay) reviewAccess(review *authorizationapi.SubjectAccessReview) error {
	spec, user := &review.Spec, p.decision.User
	if a := spec.ResourceAttributes; user != nil && a != nil &&
		user.GetName() == spec.User && slices.Equal(user.GetGroups(), spec.Groups) {
		for i := range p.decision.Authorization {
			c := &p.decision.Authorization[i]
			reviewed := (c.Reviews > 0 || c.Cached) && c.Result != authchain.CheckError
			if reviewed && c.Verb == a.Verb && c.Resource == a.Resource && c.Subresource == a.Subresource &&
				c.Name == a.Name {
				review.Status.Allowed, review.Status.Reason = c.Result == authchain.CheckAllowed, c.Reason
				return nil
			}
		}
	}
	return fmt.Errorf("what-if sends no SubjectAccessReview, and the decision has no result of a SubjectAccessReview "+
		"with the user %q and these attributes", spec.User)
}

// restoreToken replaces, in a Decision, the fingerprint of the constant "placeholder" by the fingerprint of the
// original token.
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
