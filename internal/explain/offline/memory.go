package offline

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
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

// standIn is sent in the place of a token, of which a Decision has the fingerprint alone.
const standIn = "the-token-of-the-decision"

var encodedStandIn = base64.RawURLEncoding.EncodeToString([]byte(standIn))

// targetOf is a path as it stands in a request.
func targetOf(path string) string { return (&url.URL{Path: path}).RequestURI() }

// memory answers reviews as they were answered when a Decision was made.
type memory struct {
	decision *authchain.Decision
	reviewer *reviewapi.Server
}

func newMemory(d *authchain.Decision, reviewer *reviewapi.Server) *memory {
	return &memory{d, reviewer}
}

// clients are those of an API that answers from here.
func (m *memory) clients() (authenticationv1.AuthenticationV1Interface, authorizationv1.AuthorizationV1Interface, error) {
	c := &rest.Config{Host: "http://offline", QPS: -1}
	if m.reviewer != nil {
		c = m.reviewer.RESTConfig("offline")
		c.TLSClientConfig = rest.TLSClientConfig{}
	}
	c.ContentType, c.AcceptContentTypes = "application/json", "application/json"
	c.Transport = inMemory{m}
	client, err := rest.HTTPClientFor(c)
	if err != nil {
		return nil, nil, err
	}
	tokens, err := authenticationv1.NewForConfigAndClient(c, client)
	if err != nil {
		return nil, nil, err
	}
	access, err := authorizationv1.NewForConfigAndClient(c, client)
	return tokens, access, err
}

// ServeHTTP answers a review, or passes it on to who knows. What nobody knows is forbidden, which is not asked for again.
func (m *memory) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		unknown(w, err.Error())
		return
	}
	var answered any
	if strings.HasSuffix(r.URL.Path, "/tokenreviews") {
		var asked authenticationapi.TokenReview
		switch err = json.Unmarshal(body, &asked); {
		case err != nil:
		case asked.Spec.Token != standIn && m.reviewer != nil:
		case m.token(&asked):
			answered = &asked
		default:
			err = errors.New("this token was not reviewed when it was sent, and is not kept")
		}
	} else if m.reviewer == nil {
		var asked authorizationapi.SubjectAccessReview
		if err = json.Unmarshal(body, &asked); err == nil && !m.access(&asked) {
			err = fmt.Errorf("nobody was asked this about the user %q when the request was sent, and nobody is asked now", asked.Spec.User)
		}
		answered = &asked
	}
	switch {
	case err != nil:
		unknown(w, err.Error())
	case answered != nil:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(answered)
	default:
		r.Body = io.NopCloser(bytes.NewReader(body))
		m.reviewer.Handler().ServeHTTP(w, r)
	}
}

// token answers as the Decision's token was.
func (m *memory) token(asked *authenticationapi.TokenReview) bool {
	for i := range m.decision.Authentication {
		s := &m.decision.Authentication[i]
		if s.Token == "" || s.Outcome == authchain.OutcomeError {
			continue
		}
		if s.Outcome == authchain.OutcomeAuthenticated {
			who := m.decision.User
			asked.Status.Authenticated = true
			asked.Status.User = authenticationapi.UserInfo{Username: who.GetName(), UID: who.GetUID(), Groups: who.GetGroups()}
			for key, values := range who.GetExtra() {
				if asked.Status.User.Extra == nil {
					asked.Status.User.Extra = map[string]authenticationapi.ExtraValue{}
				}
				asked.Status.User.Extra[key] = values
			}
		}
		return true
	}
	return false
}

// access answers as the same question was.
func (m *memory) access(asked *authorizationapi.SubjectAccessReview) bool {
	who, attributes := m.decision.User, asked.Spec.ResourceAttributes
	if who == nil || attributes == nil || who.GetName() != asked.Spec.User || !slices.Equal(who.GetGroups(), asked.Spec.Groups) {
		return false
	}
	for i := range m.decision.Authorization {
		q := &m.decision.Authorization[i]
		if (q.Reviews == 0 && !q.Cached) || q.Result == authchain.CheckError || q.Verb != attributes.Verb || q.Resource != attributes.Resource ||
			q.Subresource != attributes.Subresource || q.Name != attributes.Name {
			continue
		}
		asked.Status = authorizationapi.SubjectAccessReviewStatus{Allowed: q.Result == authchain.CheckAllowed, Reason: q.Reason}
		return true
	}
	return false
}

// rename has a Decision about standIn be about the token that it stands for.
func (m *memory) rename(d *authchain.Decision) {
	real := "?"
	for i := range m.decision.Authentication {
		if token := m.decision.Authentication[i].Token; token != "" {
			real = token
		}
	}
	stands := authchain.Fingerprint(standIn)
	for i := range d.Authentication {
		s := &d.Authentication[i]
		if s.Token == stands {
			s.Token = real
		}
		s.Reason = strings.ReplaceAll(s.Reason, stands, real)
	}
}

// unknown is an answer that is not asked for again.
func unknown(w http.ResponseWriter, why string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusForbidden)
	_ = json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden, Message: why,
	})
}
