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

// accessCheck identifies a SubjectAccessReview for a subresource of nodes.
type accessCheck struct{ user, verb, subresource string }

// observedReviews answers TokenReviews and SubjectAccessReviews with the results that the kubelet's responses imply:
// a token that the kubelet accepted is valid, and a request that the kubelet admitted is allowed. Other reviews fail
// with an error. The stand-in then answers 500, which marks the responses that depend on unknown RBAC rules.
// observedReviews is an http.RoundTripper and opens no connection.
type observedReviews struct {
	users   map[string]string // by token
	allowed map[accessCheck]bool
}

func newObservedReviews(
	seen *observation,
) (authenticationv1.AuthenticationV1Interface, authorizationv1.AuthorizationV1Interface, error) {
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

// reviews collects what the responses imply about tokens and permissions.
func (o *observation) reviews() *observedReviews {
	s := &observedReviews{users: map[string]string{}, allowed: map[accessCheck]bool{}}
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
		if i.secret() && !o.tokenIgnored(i) {
			s.users[i.Token] = user
		}
		if !alwaysAllow { // with AlwaysAllow the responses imply nothing about RBAC
			s.infer(user, o.responses[i.Name])
		}
	}
	return s
}

// infer records a user's permissions. If one of two permissions suffices for a request, and no other response shows
// which of them the user has, infer records the first.
func (s *observedReviews) infer(user string, responses []Response) {
	record := func(r *row, subresource string, allowed bool) {
		q := accessCheck{user, r.verb(), subresource}
		s.allowed[q] = s.allowed[q] || allowed
	}
	for n := range responses {
		r, a := &rows[n], &responses[n]
		switch {
		case a.admitted() && len(r.subresources) == 1:
			record(r, r.subresources[0], true)
		case a.Access == Forbidden:
			checked := r.subresources
			if a.subresources != nil {
				// Without KubeletFineGrainedAuthz, a kubelet checks only the last subresource.
				checked = a.subresources
			}
			for _, subresource := range checked {
				record(r, subresource, false)
			}
		}
	}
	for n := range responses {
		r, a := &rows[n], &responses[n]
		if !a.admitted() || len(r.subresources) == 1 {
			continue
		}
		explained := slices.ContainsFunc(
			r.subresources,
			func(subresource string) bool { return s.allowed[accessCheck{user, r.verb(), subresource}] },
		)
		if _, known := s.allowed[accessCheck{user, r.verb(), r.subresources[0]}]; !known || !explained {
			record(r, r.subresources[0], true)
		}
	}
}

// user returns the user name of an identity, from the kubelet's responses or, if they do not contain it, from the
// credential that the kubelet must have accepted. The name is empty if the identity was not authenticated.
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
	case i.secret() && !o.tokenIgnored(i):
		return "the holder of the token of " + i.Name
	}
	return anonymousUser
}

const anonymousUser = "system:anonymous"

// tokenIgnored reports whether the kubelet ignored the identity's token, or may have ignored it: either the webhook
// is disabled, or the kubelet authenticated the client certificate first.
func (o *observation) tokenIgnored(i *Identity) bool {
	return i.Token == "" || o.webhook().Value == isFalse || i.Certificate != nil && o.tls.ClientCertificateRequested
}

// RoundTrip answers a review.
func (s *observedReviews) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	var object struct{ Kind string }
	if err := json.Unmarshal(body, &object); err != nil {
		return nil, fmt.Errorf("the review is not JSON: %w", err)
	}
	switch object.Kind {
	case "TokenReview":
		var review authentication.TokenReview
		if err := json.Unmarshal(body, &review); err != nil {
			return nil, err
		}
		user, valid := s.users[review.Spec.Token]
		review.Spec.Token = ""
		review.Status.Authenticated, review.Status.User.Username = valid, user
		return jsonResponse(request, http.StatusCreated, &review)
	case "SubjectAccessReview":
		var review authorization.SubjectAccessReview
		if err := json.Unmarshal(body, &review); err != nil {
			return nil, err
		}
		attributes := review.Spec.ResourceAttributes
		if attributes == nil {
			attributes = &authorization.ResourceAttributes{}
		}
		allowed, known := s.allowed[accessCheck{review.Spec.User, attributes.Verb, attributes.Subresource}]
		if !known {
			refusal := apierrors.NewForbidden(
				schema.GroupResource{Group: authorization.GroupName, Resource: "subjectaccessreviews"},
				"",
				nil,
			)
			return jsonResponse(request, http.StatusForbidden, refusal.Status())
		}
		review.Status.Allowed = allowed
		return jsonResponse(request, http.StatusCreated, &review)
	}
	return nil, fmt.Errorf("unknown kind of review %q", object.Kind)
}

func jsonResponse(request *http.Request, status int, object any) (*http.Response, error) {
	body, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Request: request,
		Header: http.Header{
			"Content-Type": {"application/json"},
		}, ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
	}, nil
}
