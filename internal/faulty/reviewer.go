package faulty

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"sync"
	"syscall"

	authenticationapi "k8s.io/api/authentication/v1"
	authorizationapi "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes/scheme"

	"fauxlet/authchain"
	"fauxlet/internal/faults"
)

// RoundTripper decorates the transport that sends TokenReviews and SubjectAccessReviews to the reviewer, which is an
// apiserver. Other requests pass unchanged. A fault can turn "allowed" into "denied", make a review fail, or replace
// the user of a token by another user. A replaced user is allowed only what both the true user and the other user may
// do.
func (n *Node) RoundTripper(next http.RoundTripper) http.RoundTripper {
	return &reviewer{node: n, next: next, allowed: map[allowance]bool{}}
}

type reviewer struct {
	node *Node
	next http.RoundTripper

	mu      sync.Mutex
	allowed map[allowance]bool
}

// allowance identifies a review whose answer was "authenticated" or "allowed" while a reviewer-revoking fault was
// active. The field "subject" is the hash of the TokenReview or SubjectAccessReview that was sent.
type allowance struct {
	revoking *faults.Active
	subject  [sha256.Size]byte
}

// maxAllowed is the maximum number of stored allowances. When the store is full, a reviewer-revoking fault denies even
// the first review of a token or an access.
const maxAllowed = 1 << 12

// WrappedRoundTripper returns the decorated transport, so that client-go can close its idle connections.
func (v *reviewer) WrappedRoundTripper() http.RoundTripper { return v.next }

// RoundTrip sends one review and applies the active faults. The user of a token is unknown until the reviewer has
// answered the TokenReview. So if the scope of a fault has the field user or group, the fault applies to TokenReviews
// only if it changes the answer. It never applies if it delays TokenReviews or makes them fail.
func (v *reviewer) RoundTrip(r *http.Request) (*http.Response, error) {
	if v.node.faults.Unused() || r.Method != http.MethodPost || r.Body == nil {
		return v.next.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil {
		return nil, err
	}
	// The variable "sent" is nil if the body is not a Kubernetes object.
	sent, _, _ := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	t := v.node.target()
	switch sent := sent.(type) {
	case *authenticationapi.TokenReview:
		t.Review = faults.TokenReview
	case *authorizationapi.SubjectAccessReview:
		t.Review, t.User, t.Groups = faults.SubjectAccessReview, sent.Spec.User, sent.Spec.Groups
	default:
		return v.send(r, body)
	}
	if slow := v.node.apply(r.Context(), &t, faults.ReviewerSlow); slow != nil {
		if err := v.node.wait(r.Context(), slow.Delay.Duration); err != nil {
			return nil, err
		}
	}
	if v.node.apply(r.Context(), &t, faults.ReviewerDown) != nil {
		refused := os.NewSyscallError("connect", syscall.ECONNREFUSED)
		return nil, fmt.Errorf("dial tcp %s: %w", r.URL.Host, refused)
	}
	response, answer, err := v.review(r, sent)
	if err != nil || answer == nil {
		return response, err
	}
	if failed := v.node.apply(r.Context(), &t, faults.ReviewerError); failed != nil {
		body := []byte("<html>This is not a review.</html>")
		if failed.Status != 0 {
			response.StatusCode = failed.Status
			body = []byte(cmp.Or(failed.Body, http.StatusText(failed.Status)))
		}
		return withBody(response, "text/html", body), nil
	}
	if err := v.change(r.Context(), &t, sent, answer); err != nil {
		return nil, err
	}
	if body, err = json.Marshal(answer); err != nil {
		return nil, err
	}
	return withBody(response, runtime.ContentTypeJSON, body), nil
}

// The method "change" applies the faults that change the answer to a review. Such faults change an answer only if it
// authenticates a token or allows access.
func (v *reviewer) change(ctx context.Context, t *faults.Target, sent, answer runtime.Object) error {
	token, _ := answer.(*authenticationapi.TokenReview)
	access, _ := answer.(*authorizationapi.SubjectAccessReview)
	if token != nil && !token.Status.Authenticated || access != nil && !access.Status.Allowed {
		return nil
	}
	if token != nil {
		t.User, t.Groups = token.Status.User.Username, token.Status.User.Groups
	}
	wrong := v.node.apply(ctx, t, faults.ReviewerWrong)
	if wrong != nil && wrong.Answer == faults.OtherUser { // the answer other-user is valid only for TokenReviews
		trueUser, err := json.Marshal(token.Status.User)
		if err != nil {
			return err
		}
		token.Status.User = authenticationapi.UserInfo{Username: wrong.As,
			Extra: map[string]authenticationapi.ExtraValue{replacedUser: {string(trueUser)}}}
		wrong = nil
	}
	subject, err := json.Marshal(sent)
	if err != nil {
		return err
	}
	switch {
	case wrong == nil && !v.isRevoked(ctx, t, sha256.Sum256(subject)):
	case token != nil:
		token.Status = authenticationapi.TokenReviewStatus{Error: "[invalid bearer token, token lookup failed]"}
	default:
		access.Status = authorizationapi.SubjectAccessReviewStatus{}
	}
	return nil
}

// If a fault has put another user in place of the true user, the extra fields of the other user have the key
// replacedUser. Its value is the true user, as JSON. A SubjectAccessReview with this key is allowed only if both users
// have the access.
const replacedUser = "fauxlet/instead-of"

// The method "review" sends a review. It returns the response and the review that the response contains. If the
// response is an error, the returned review is nil. If a fault has replaced the user of a SubjectAccessReview, the
// method first sends a review about the other user. If that user has the access, it sends a second review about the
// true user.
func (v *reviewer) review(r *http.Request, sent runtime.Object) (*http.Response, runtime.Object, error) {
	access, _ := sent.(*authorizationapi.SubjectAccessReview)
	if access == nil || len(access.Spec.Extra[replacedUser]) == 0 {
		return v.exchange(r, sent)
	}
	var trueUser authenticationapi.UserInfo
	if err := json.Unmarshal([]byte(access.Spec.Extra[replacedUser][0]), &trueUser); err != nil {
		return nil, nil, err
	}
	first := access.DeepCopy()
	delete(first.Spec.Extra, replacedUser)
	response, answer, err := v.exchange(r, first)
	if reviewed, _ := answer.(*authorizationapi.SubjectAccessReview); reviewed == nil || !reviewed.Status.Allowed {
		return response, answer, err
	}
	second := access.DeepCopy()
	second.Spec.User, second.Spec.UID, second.Spec.Groups = trueUser.Username, trueUser.UID, trueUser.Groups
	// A kubelet adds the group system:authenticated to every authenticated user. Here it added the group only to the
	// other user, because it does not see the true user. The review about the true user needs the group too.
	if !slices.Contains(trueUser.Groups, user.AllAuthenticated) {
		second.Spec.Groups = append(second.Spec.Groups, user.AllAuthenticated)
	}
	second.Spec.Extra = map[string]authorizationapi.ExtraValue{}
	for key, value := range trueUser.Extra {
		second.Spec.Extra[key] = authorizationapi.ExtraValue(value)
	}
	return v.exchange(r, second)
}

// exchange sends one review as JSON, and returns the response and the review in it, which has the same kind. If the
// response is an error, the returned review is nil, and the body of the response is open. Otherwise the body is closed.
func (v *reviewer) exchange(r *http.Request, sent runtime.Object) (*http.Response, runtime.Object, error) {
	body, err := json.Marshal(sent)
	if err != nil {
		return nil, nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Content-Type", runtime.ContentTypeJSON)
	response, err := v.send(r, body)
	if err != nil || response.StatusCode >= http.StatusMultipleChoices {
		return response, nil, err
	}
	defer response.Body.Close()
	if body, err = io.ReadAll(response.Body); err != nil {
		return nil, nil, err
	}
	answer, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("the apiserver's response to a review cannot be decoded: %w", err)
	}
	if got, want := answer.GetObjectKind().GroupVersionKind(), sent.GetObjectKind().GroupVersionKind(); got != want {
		return nil, nil, fmt.Errorf("the apiserver has answered a %s with a %s", want, got)
	}
	return response, answer, nil
}

// send sends a copy of a request with the given body.
func (v *reviewer) send(r *http.Request, body []byte) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.Body, _ = r.GetBody()
	r.ContentLength = int64(len(body))
	return v.next.RoundTrip(r)
}

func withBody(response *http.Response, contentType string, body []byte) *http.Response {
	response.Header.Set("Content-Type", contentType)
	response.Header.Del("Content-Length")
	response.Header.Del("Content-Encoding")
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return response
}

// isRevoked reports whether a reviewer-revoking fault denies a review that the reviewer has allowed. The fault never
// applies to the first review of a token or an access, only to later reviews.
func (v *reviewer) isRevoked(ctx context.Context, t *faults.Target, subject [sha256.Size]byte) bool {
	for _, revoking := range v.node.faults.Matching(t, faults.ReviewerRevoking) {
		if !v.isFirst(allowance{revoking, subject}) && revoking.Apply(t) {
			authchain.AddAffectedBy(ctx, revoking.Name)
			return true
		}
	}
	return false
}

// isFirst stores an allowance. It returns false if the allowance was stored before, or if the store is full.
func (v *reviewer) isFirst(a allowance) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.allowed[a] {
		return false
	}
	if len(v.allowed) == maxAllowed { // remove the entries of faults that have ended
		maps.DeleteFunc(v.allowed, func(old allowance, _ bool) bool {
			return !slices.Contains(v.node.faults.List(), old.revoking)
		})
	}
	if len(v.allowed) == maxAllowed {
		return false
	}
	v.allowed[a] = true
	return true
}
