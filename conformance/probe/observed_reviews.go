package probe

import (
	"encoding/json"
	"net/http"
	"slices"

	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// accessCheck identifies a SubjectAccessReview for a subresource of nodes.
type accessCheck struct{ user, verb, subresource string }

// observedReviews answers the stand-in's reviews with the results that the kubelet's responses imply: a token that the
// kubelet accepted is valid, and a request that the kubelet admitted is allowed. For a SubjectAccessReview with an
// unknown result, it returns an error. The stand-in then answers 500.
type observedReviews struct {
	users   map[string]string // by token
	allowed map[accessCheck]bool
}

// reviews infers the valid tokens and the users' permissions from the kubelet's responses.
func (o *observation) reviews() *observedReviews {
	s := &observedReviews{users: map[string]string{}, allowed: map[accessCheck]bool{}}
	alwaysAllow := o.values()[authorizationMode] == "AlwaysAllow"
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

// infer records a user's permissions. Some requests need only one of two permissions. If no other response shows which
// of the two the user has, infer records the first one.
func (s *observedReviews) infer(user string, responses []Response) {
	for _, a := range responses {
		checked := a.row.subresources()
		if a.subresources != nil {
			checked = a.subresources // without KubeletFineGrainedAuthz, a kubelet checks only the last subresource
		}
		for _, subresource := range checked {
			check := accessCheck{user, a.row.verb(), subresource}
			// Another identity of the same user may have shown that the permission is granted.
			if _, known := s.allowed[check]; a.Access == Forbidden && !known {
				s.allowed[check] = false
			}
		}
	}
	// Look first at requests that need one certain permission, and then at requests that need one of two permissions.
	for width := 1; width <= 2; width++ {
		for _, a := range responses {
			subresources := a.row.subresources()
			if !a.admitted() || len(subresources) != width {
				continue
			}
			first := accessCheck{user, a.row.verb(), subresources[0]}
			explained := slices.ContainsFunc(subresources, func(subresource string) bool {
				return s.allowed[accessCheck{user, first.verb, subresource}]
			})
			if _, known := s.allowed[first]; !known || !explained {
				s.allowed[first] = true
			}
		}
	}
}

// user returns an identity's user name. If no response of the kubelet contains the name, it comes from the credential
// that the kubelet accepted. It is empty if the kubelet did not authenticate the identity.
func (o *observation) user(i *Identity) string {
	switch user := o.userOf(i.Name); {
	case user != "":
		return user
	case o.accepted(i.Name) == nil:
		return ""
	case i.commonName() != "" && o.tls.ClientCertificateRequested:
		return i.commonName()
	case i.secret() && !o.tokenIgnored(i):
		return "the holder of the token of " + i.Name
	}
	return "system:anonymous"
}

// tokenIgnored reports whether the kubelet may have ignored the identity's token, because the webhook is disabled or
// because the kubelet authenticates a client certificate first.
func (o *observation) tokenIgnored(i *Identity) bool {
	webhook, _ := o.webhook()
	return i.Token == "" || webhook == isFalse || i.Certificate != nil && o.tls.ClientCertificateRequested
}

// ServeHTTP answers a TokenReview or a SubjectAccessReview.
func (s *observedReviews) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var review struct {
		metav1.TypeMeta
		Spec struct {
			Token, User        string
			ResourceAttributes authorization.ResourceAttributes
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, "the review is not JSON: "+err.Error(), http.StatusBadRequest)
		return
	}
	spec, known := &review.Spec, true
	var result any
	if review.Kind == "TokenReview" {
		user, valid := s.users[spec.Token]
		result = authentication.TokenReviewStatus{Authenticated: valid, User: authentication.UserInfo{Username: user}}
	} else {
		var status authorization.SubjectAccessReviewStatus
		check := accessCheck{spec.User, spec.ResourceAttributes.Verb, spec.ResourceAttributes.Subresource}
		status.Allowed, known = s.allowed[check]
		result = status
	}
	w.Header().Set("Content-Type", "application/json")
	if !known {
		w.WriteHeader(http.StatusForbidden) // the stand-in does not retry a review that gets 403
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": review.APIVersion, "kind": review.Kind,
		"status": result})
}
