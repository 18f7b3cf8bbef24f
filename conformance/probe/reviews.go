package probe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"

	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
)

// question is what an authorizer is asked.
type question struct{ user, verb, subresource string }

// seenReviews are reviews as the kubelet was seen to have had them answered: a token that it took is good, and whom it let
// do something may do it. What was not seen is refused with an error, which a stand-in answers with 500: so it shows in
// the stand-in's answers where RBAC decides and nobody here knows how. It takes the place of the connection to an
// apiserver, and no socket is opened.
type seenReviews struct {
	users   map[string]string // by token
	allowed map[question]bool
}

func newSeenReviews(seen *observation) (authenticationv1.AuthenticationV1Interface, authorizationv1.AuthorizationV1Interface, error) {
	config := &rest.Config{Host: "http://reviews.invalid", QPS: -1, Transport: seen.reviews()}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, nil, err
	}
	tokens, err := authenticationv1.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, nil, err
	}
	access, err := authorizationv1.NewForConfigAndClient(config, client)
	return tokens, access, err
}

// reviews gathers what the answers say of tokens and rights.
func (o *observation) reviews() *seenReviews {
	s := &seenReviews{users: map[string]string{}, allowed: map[question]bool{}}
	alwaysAllow := false
	for _, setting := range o.settings() {
		alwaysAllow = alwaysAllow || setting.Name == authorizationMode && setting.Value == "AlwaysAllow"
	}
	for n := range o.identities {
		i := &o.identities[n]
		user := o.user(i)
		if user == "" {
			continue
		}
		if i.secret() && !o.tokenUnread(i) {
			s.users[i.Token] = user
		}
		if !alwaysAllow { // what everybody is allowed says nothing of what RBAC would allow
			s.learn(user, o.answers[i.Name])
		}
	}
	return s
}

// learn takes from a user's answers what the user may do. Where one of two rights is enough, and no other answer says
// which it was, it is taken to be the first.
func (s *seenReviews) learn(user string, answers []Response) {
	know := func(r *row, subresource string, allowed bool) {
		q := question{user, r.verb(), subresource}
		s.allowed[q] = s.allowed[q] || allowed
	}
	for n := range answers {
		r, a := &rows[n], &answers[n]
		switch {
		case a.admitted() && len(r.asks) == 1:
			know(r, r.asks[0], true)
		case a.Access == Forbidden:
			asked := r.asks
			if a.subresources != nil {
				asked = a.subresources // without fine-grained authorization a kubelet asks about the last alone
			}
			for _, subresource := range asked {
				know(r, subresource, false)
			}
		}
	}
	for n := range answers {
		r, a := &rows[n], &answers[n]
		if !a.admitted() || len(r.asks) == 1 {
			continue
		}
		explained := slices.ContainsFunc(r.asks, func(subresource string) bool { return s.allowed[question{user, r.verb(), subresource}] })
		if _, known := s.allowed[question{user, r.verb(), r.asks[0]}]; !known || !explained {
			know(r, r.asks[0], true)
		}
	}
}

// user is whom the kubelet takes an identity for: by its own word, or else by what it must have gone by. It is empty where
// nobody was accepted.
func (o *observation) user(i *Identity) string {
	if user := o.userOf(i.Name); user != "" {
		return user
	}
	if _, accepted := o.accepted(i.Name); !accepted {
		return ""
	}
	switch {
	case i.commonName() != "" && o.tls.ClientCertificateRequested:
		return i.commonName()
	case i.secret() && !o.tokenUnread(i):
		return "the holder of the token of " + i.Name
	}
	return anonymousUser
}

const anonymousUser = "system:anonymous"

// tokenUnread says whether the kubelet went by something else than the token of i, or may have: then nothing is known of it.
func (o *observation) tokenUnread(i *Identity) bool {
	return i.Token == "" || o.webhook().Value == isFalse || i.Certificate != nil && o.tls.ClientCertificateRequested
}

// RoundTrip answers a review.
func (s *seenReviews) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	var asked struct{ Kind string }
	if err := json.Unmarshal(body, &asked); err != nil {
		return nil, fmt.Errorf("a review that is no JSON: %w", err)
	}
	switch asked.Kind {
	case "TokenReview":
		var review authentication.TokenReview
		if err := json.Unmarshal(body, &review); err != nil {
			return nil, err
		}
		user, good := s.users[review.Spec.Token]
		review.Spec.Token = ""
		review.Status.Authenticated, review.Status.User.Username = good, user
		return answer(request, http.StatusCreated, &review)
	case "SubjectAccessReview":
		var review authorization.SubjectAccessReview
		if err := json.Unmarshal(body, &review); err != nil {
			return nil, err
		}
		attributes := review.Spec.ResourceAttributes
		if attributes == nil {
			attributes = &authorization.ResourceAttributes{}
		}
		allowed, known := s.allowed[question{review.Spec.User, attributes.Verb, attributes.Subresource}]
		if !known {
			refusal := apierrors.NewForbidden(schema.GroupResource{Group: authorization.GroupName, Resource: "subjectaccessreviews"}, "", nil)
			return answer(request, http.StatusForbidden, refusal.Status())
		}
		review.Status.Allowed = allowed
		return answer(request, http.StatusCreated, &review)
	}
	return nil, fmt.Errorf("a review of the kind %q", asked.Kind)
}

func answer(request *http.Request, status int, object any) (*http.Response, error) {
	body, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: request,
		Header: http.Header{"Content-Type": {"application/json"}}, ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
	}, nil
}
