package faulty

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"syscall"

	authenticationapi "k8s.io/api/authentication/v1"
	authorizationapi "k8s.io/api/authorization/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes/scheme"

	"fauxlet/authchain"
	"fauxlet/internal/faults"
)

// RoundTripper decorates the transport that sends the node's TokenReviews and SubjectAccessReviews to its reviewer
// (the apiserver) with the faults of reviewers. Other requests pass unchanged.
//
// A fault can turn "allowed" into "denied", make a review fail, or replace the user of a token by another user. If a
// fault has replaced the user, access is allowed only if both users are allowed.
func (n *Node) RoundTripper(next http.RoundTripper) http.RoundTripper {
	return &reviewer{node: n, next: next, allowed: map[*faults.Active]map[[sha256.Size]byte]bool{}}
}

type reviewer struct {
	node *Node
	next http.RoundTripper

	mu sync.Mutex
	// allowed has, for each reviewer-revoking fault, the hashes of the tokens and access reviews that the reviewer
	// has allowed while the fault was active.
	allowed map[*faults.Active]map[[sha256.Size]byte]bool
}

// maxAllowed is the maximum number of subjects (tokens and access reviews) that are stored for one fault. Further
// subjects are revoked at once.
const maxAllowed = 1 << 12

// WrappedRoundTripper returns the decorated transport, so that its idle connections can be closed.
func (v *reviewer) WrappedRoundTripper() http.RoundTripper { return v.next }

func (v *reviewer) RoundTrip(r *http.Request) (*http.Response, error) {
	if v.node.faults.Version() == nil || r.Method != http.MethodPost || r.Body == nil {
		return v.next.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil {
		return nil, err
	}
	review, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	if err != nil {
		return v.send(r, body)
	}
	switch review := review.(type) {
	case *authenticationapi.TokenReview:
		return v.reviewToken(r, body, review)
	case *authorizationapi.SubjectAccessReview:
		return v.reviewAccess(r, body, review)
	}
	return v.send(r, body)
}

// reviewToken answers a TokenReview. The user is unknown until the reviewer has answered, so the scopes of
// reviewer-wrong and reviewer-revoking are matched after that.
func (v *reviewer) reviewToken(r *http.Request, body []byte, sent *authenticationapi.TokenReview) (*http.Response,
	error) {
	t := v.node.target()
	t.Review = faults.TokenReview
	if err := v.failBefore(r, &t); err != nil {
		return nil, err
	}
	response, err := v.send(r, body)
	if err != nil || response.StatusCode >= http.StatusMultipleChoices {
		return response, err
	}
	answer := &authenticationapi.TokenReview{}
	if err := readAnswer(response, answer); err != nil {
		return nil, err
	}
	status := &answer.Status
	if !status.Authenticated {
		return withAnswer(response, answer)
	}
	t.User, t.Groups = status.User.Username, status.User.Groups
	if wrong := v.apply(r.Context(), &t, faults.ReviewerWrong); wrong != nil {
		if wrong.Answer != faults.OtherUser {
			answer.Status = invalidToken
		} else if status.User, err = replaceUser(status.User, wrong.As); err != nil {
			return nil, err
		}
	}
	if answer.Status.Authenticated && v.isRevoked(r.Context(), &t, sha256.Sum256([]byte(sent.Spec.Token))) {
		answer.Status = invalidToken
	}
	return withAnswer(response, answer)
}

// invalidToken is an apiserver's answer to a token that it cannot authenticate.
var invalidToken = authenticationapi.TokenReviewStatus{Error: "[invalid bearer token, token lookup failed]"}

// replacedUser is a key in a user's extra fields. Its value is the true user, whom a fault has replaced. For a
// SubjectAccessReview about a user with this key, both users are reviewed.
const replacedUser = "fauxlet/instead-of"

// replaceUser returns a user with the name as, which has the true user in an extra field.
func replaceUser(user authenticationapi.UserInfo, as string) (authenticationapi.UserInfo, error) {
	replaced, err := json.Marshal(user)
	extra := map[string]authenticationapi.ExtraValue{replacedUser: {string(replaced)}}
	return authenticationapi.UserInfo{Username: as, Extra: extra}, err
}

// reviewAccess answers a SubjectAccessReview.
func (v *reviewer) reviewAccess(r *http.Request, body []byte,
	sent *authorizationapi.SubjectAccessReview) (*http.Response, error) {
	t := v.node.target()
	t.Review, t.User, t.Groups = faults.SubjectAccessReview, sent.Spec.User, sent.Spec.Groups
	if err := v.failBefore(r, &t); err != nil {
		return nil, err
	}
	var response *http.Response
	var err error
	if replaced := sent.Spec.Extra[replacedUser]; len(replaced) > 0 {
		response, err = v.reviewBoth(r, sent, replaced[0])
	} else {
		response, err = v.send(r, body)
	}
	if err != nil || response.StatusCode >= http.StatusMultipleChoices {
		return response, err
	}
	answer := &authorizationapi.SubjectAccessReview{}
	if err := readAnswer(response, answer); err != nil {
		return nil, err
	}
	if !answer.Status.Allowed {
		return withAnswer(response, answer)
	}
	subject, err := json.Marshal(sent.Spec)
	if err != nil {
		return nil, err
	}
	if v.apply(r.Context(), &t, faults.ReviewerWrong) != nil || v.isRevoked(r.Context(), &t, sha256.Sum256(subject)) {
		answer.Status = authorizationapi.SubjectAccessReviewStatus{}
	}
	return withAnswer(response, answer)
}

// reviewBoth reviews the access of the replacing user, and then the access of the true user. It returns the first
// answer that does not allow the access, or the second answer if both allow it.
func (v *reviewer) reviewBoth(r *http.Request, sent *authorizationapi.SubjectAccessReview,
	replaced string) (*http.Response, error) {
	var trueUser authenticationapi.UserInfo
	if err := json.Unmarshal([]byte(replaced), &trueUser); err != nil {
		return nil, err
	}
	first := sent.DeepCopy()
	delete(first.Spec.Extra, replacedUser)
	response, err := v.sendReview(r, first)
	if err != nil || response.StatusCode >= http.StatusMultipleChoices {
		return response, err
	}
	answer := &authorizationapi.SubjectAccessReview{}
	if err := readAnswer(response, answer); err != nil {
		return nil, err
	}
	if !answer.Status.Allowed {
		return withAnswer(response, answer)
	}
	second := sent.DeepCopy()
	second.Spec.User, second.Spec.UID, second.Spec.Groups = trueUser.Username, trueUser.UID, trueUser.Groups
	if !slices.Contains(trueUser.Groups, user.AllAuthenticated) { // the chain added it to the other user
		second.Spec.Groups = append(second.Spec.Groups, user.AllAuthenticated)
	}
	second.Spec.Extra = map[string]authorizationapi.ExtraValue{}
	for key, value := range trueUser.Extra {
		second.Spec.Extra[key] = authorizationapi.ExtraValue(value)
	}
	return v.sendReview(r, second)
}

// failBefore applies the faults that delay a review or prevent it from being sent.
func (v *reviewer) failBefore(r *http.Request, t *faults.Target) error {
	if slow := v.apply(r.Context(), t, faults.ReviewerSlow); slow != nil {
		if err := v.node.wait(r.Context(), slow.Delay.Duration); err != nil {
			return err
		}
	}
	if v.apply(r.Context(), t, faults.ReviewerDown) == nil {
		return nil
	}
	refused := os.NewSyscallError("connect", syscall.ECONNREFUSED)
	return &net.OpError{Op: "dial", Net: "tcp", Addr: hostAddr(r.URL.Host), Err: refused}
}

// hostAddr is the net.Addr of the reviewer in errors about connections that are not attempted.
type hostAddr string

func (hostAddr) Network() string  { return "tcp" }
func (a hostAddr) String() string { return string(a) }

// apply returns the fault of a kind that applies to a review, or nil. It records the fault in the Decisions of all
// requests that wait for the review.
func (v *reviewer) apply(ctx context.Context, t *faults.Target, kind string) *faults.Active {
	fault := v.node.faults.Apply(t, kind)
	if fault != nil {
		authchain.AddAffectedBy(ctx, fault.Name)
	}
	return fault
}

// isRevoked reports whether a reviewer-revoking fault revokes a token or access that the reviewer has allowed. The
// first review of each subject stays allowed.
func (v *reviewer) isRevoked(ctx context.Context, t *faults.Target, subject [sha256.Size]byte) bool {
	version := v.node.faults.Version()
	for _, revoking := range version.Matching(t, faults.ReviewerRevoking) {
		if v.isFirst(version, revoking, subject) {
			continue
		}
		if revoking.Apply(t) {
			authchain.AddAffectedBy(ctx, revoking.Name)
			return true
		}
	}
	return false
}

// isFirst reports whether a subject is allowed for the first time since the fault began, and stores the subject.
func (v *reviewer) isFirst(version *faults.Version, revoking *faults.Active, subject [sha256.Size]byte) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	seen := v.allowed[revoking]
	if seen == nil {
		seen = map[[sha256.Size]byte]bool{}
		v.allowed[revoking] = seen
		for other := range v.allowed { // forget faults that have ended
			if !slices.Contains(version.List(), other) {
				delete(v.allowed, other)
			}
		}
	}
	if seen[subject] || len(seen) == maxAllowed {
		return false
	}
	seen[subject] = true
	return true
}

// send sends a review unchanged.
func (v *reviewer) send(r *http.Request, body []byte) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.Body, _ = r.GetBody()
	r.ContentLength = int64(len(body))
	return v.next.RoundTrip(r)
}

// codec encodes reviews as JSON in the API version of their type.
var codec = scheme.Codecs.LegacyCodec(authenticationapi.SchemeGroupVersion, authorizationapi.SchemeGroupVersion)

// sendReview sends a review in place of the body of r.
func (v *reviewer) sendReview(r *http.Request, review apiruntime.Object) (*http.Response, error) {
	body, err := apiruntime.Encode(codec, review)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Content-Type", apiruntime.ContentTypeJSON)
	return v.send(r, body)
}

// readAnswer reads and closes the body of a response.
func readAnswer(response *http.Response, into apiruntime.Object) error {
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if _, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, into); err != nil {
		return fmt.Errorf("the reviewer's answer: %w", err)
	}
	return nil
}

// withAnswer returns the response with another review as its body.
func withAnswer(response *http.Response, answer apiruntime.Object) (*http.Response, error) {
	body, err := apiruntime.Encode(codec, answer)
	if err != nil {
		return nil, err
	}
	response.Header.Set("Content-Type", apiruntime.ContentTypeJSON)
	response.Header.Del("Content-Length")
	response.Header.Del("Content-Encoding")
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return response, nil
}
