package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
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
	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"

	"fauxlet/authchain"
	"fauxlet/internal/faults"
)

// reviewer stands between the chain and the reviewer, as the transport of the clients that send reviews, so that a review
// that goes wrong is to the chain what it is to a kubelet. It only ever turns a yes into a no, an answer into none, or the
// user of a token into another who may do no more.
type reviewer struct {
	server *Server
	next   http.RoundTripper

	mu sync.Mutex
	// good are the subjects to which the reviewer has said yes while a fault was active that revokes.
	good map[*faults.Active]map[[sha256.Size]byte]bool
}

// mostGood is how many subjects are remembered for one fault. What comes then is taken for revoked.
const mostGood = 1 << 12

// tokenReviews and accessReviews are clients whose reviews go through a reviewer.
type (
	tokenReviews struct {
		authenticationv1.AuthenticationV1Interface
		client rest.Interface
	}
	accessReviews struct {
		authorizationv1.AuthorizationV1Interface
		client rest.Interface
	}
)

func (c tokenReviews) RESTClient() rest.Interface  { return c.client }
func (c accessReviews) RESTClient() rest.Interface { return c.client }

// spoilReviews puts a reviewer behind the clients of the chain.
func (s *Server) spoilReviews(chain *authchain.Config) error {
	if s.faults == nil {
		return nil
	}
	if chain.TokenReviews != nil {
		client, err := s.throughReviewer(chain.TokenReviews.RESTClient())
		if err != nil {
			return fmt.Errorf("server: Options.TokenReviews: %w", err)
		}
		chain.TokenReviews = tokenReviews{chain.TokenReviews, client}
	}
	if chain.AccessReviews != nil {
		client, err := s.throughReviewer(chain.AccessReviews.RESTClient())
		if err != nil {
			return fmt.Errorf("server: Options.AccessReviews: %w", err)
		}
		chain.AccessReviews = accessReviews{chain.AccessReviews, client}
	}
	return nil
}

// reviewClient is the client of the chain, as it is while there never was a fault, and one with a reviewer from then on.
type reviewClient struct {
	rest.Interface
	spoilt rest.Interface
	faults *faults.Set
}

func (c reviewClient) Post() *rest.Request {
	if c.faults.Version() == nil {
		return c.Interface.Post()
	}
	return c.spoilt.Post()
}

// throughReviewer is client with a reviewer as its transport.
func (s *Server) throughReviewer(client rest.Interface) (rest.Interface, error) {
	faithful, ok := client.(*rest.RESTClient)
	if !ok || faithful == nil {
		return nil, errors.New("with Options.Faults it must send requests, as that of a clientset of k8s.io/client-go/kubernetes does")
	}
	through := http.Client{}
	if faithful.Client != nil {
		through = *faithful.Client
	}
	if through.Transport == nil {
		through.Transport = http.DefaultTransport
	}
	through.Transport = &reviewer{server: s, next: through.Transport, good: map[*faults.Active]map[[sha256.Size]byte]bool{}}
	base := faithful.Post().URL()
	path := base.Path
	base.Path = ""
	spoilt, err := rest.NewRESTClient(base, path, rest.ClientContentConfig{
		ContentType:  apiruntime.ContentTypeJSON,
		GroupVersion: faithful.APIVersion(),
		Negotiator:   apiruntime.NewClientNegotiator(scheme.Codecs.WithoutConversion(), faithful.APIVersion()),
	}, faithful.GetRateLimiter(), &through)
	return reviewClient{client, spoilt, s.faults}, err
}

func (v *reviewer) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil {
		return nil, err
	}
	review, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	if err != nil {
		return nil, err
	}
	switch review := review.(type) {
	case *authenticationapi.TokenReview:
		return v.reviewToken(r, body, review)
	case *authorizationapi.SubjectAccessReview:
		return v.reviewAccess(r, body, review)
	}
	return v.send(r, body)
}

// codec writes reviews as they came: as JSON.
var codec = scheme.Codecs.LegacyCodec(authenticationapi.SchemeGroupVersion, authorizationapi.SchemeGroupVersion)

// send sends a review as it is.
func (v *reviewer) send(r *http.Request, body []byte) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.Body, _ = r.GetBody()
	r.ContentLength = int64(len(body))
	return v.next.RoundTrip(r)
}

// sendReview sends another review than the one that came.
func (v *reviewer) sendReview(r *http.Request, review apiruntime.Object) (*http.Response, error) {
	body, err := apiruntime.Encode(codec, review)
	if err != nil {
		return nil, err
	}
	return v.send(r, body)
}

// strike is the fault of a kind that strikes a review, which is told to those who wait for it.
func (v *reviewer) strike(ctx context.Context, t *faults.Target, kind string) *faults.Active {
	fault := v.server.faults.Apply(t, kind)
	if fault != nil {
		authchain.AddAffectedBy(ctx, fault.Name)
	}
	return fault
}

// unanswered does what is done to a review before it is sent: an error is the end of it.
func (v *reviewer) unanswered(r *http.Request, t *faults.Target) error {
	if slow := v.strike(r.Context(), t, faults.ReviewerSlow); slow != nil {
		if err := v.server.wait(r.Context(), slow.Delay.Duration); err != nil {
			return err
		}
	}
	if v.strike(r.Context(), t, faults.ReviewerDown) == nil {
		return nil
	}
	return &net.OpError{Op: "dial", Net: "tcp", Addr: hostAddr(r.URL.Host), Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

// hostAddr is the address of a host that nobody dials.
type hostAddr string

func (hostAddr) Network() string  { return "tcp" }
func (a hostAddr) String() string { return string(a) }

// isRevoked says whether a yes about a subject is not any more, by a fault that revokes. The first yes still is one.
func (v *reviewer) isRevoked(ctx context.Context, t *faults.Target, subject [sha256.Size]byte) bool {
	version := v.server.faults.Version()
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

func (v *reviewer) isFirst(version *faults.Version, revoking *faults.Active, subject [sha256.Size]byte) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	known := v.good[revoking]
	if known == nil {
		known = map[[sha256.Size]byte]bool{}
		v.good[revoking] = known
		for other := range v.good { // whose time is over
			if !slices.Contains(version.List(), other) {
				delete(v.good, other)
			}
		}
	}
	if known[subject] || len(known) == mostGood {
		return false
	}
	known[subject] = true
	return true
}

// reviewToken has a TokenReview answered. Until it is, nobody knows whose the token is.
func (v *reviewer) reviewToken(r *http.Request, body []byte, sent *authenticationapi.TokenReview) (*http.Response, error) {
	t := v.server.target()
	t.Review = faults.TokenReview
	if err := v.unanswered(r, &t); err != nil {
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
		return answered(response, answer)
	}
	t.User, t.Groups = status.User.Username, status.User.Groups
	if wrong := v.strike(r.Context(), &t, faults.ReviewerWrong); wrong != nil {
		if wrong.Answer != faults.OtherUser {
			answer.Status = invalidToken
		} else if status.User, err = otherUser(status.User, wrong.As); err != nil {
			return nil, err
		}
	}
	if answer.Status.Authenticated && v.isRevoked(r.Context(), &t, sha256.Sum256([]byte(sent.Spec.Token))) {
		answer.Status = invalidToken
	}
	return answered(response, answer)
}

// invalidToken is what an apiserver says of a token that it does not know.
var invalidToken = authenticationapi.TokenReviewStatus{Error: "[invalid bearer token, token lookup failed]"}

// insteadOf is the key by which the user that a fault names carries the one that the reviewer named. Where it is there, the
// user may do what both may.
const insteadOf = "fauxlet/instead-of"

// otherUser is the user named as, in the place of the true one.
func otherUser(rightful authenticationapi.UserInfo, as string) (authenticationapi.UserInfo, error) {
	carried, err := json.Marshal(rightful)
	return authenticationapi.UserInfo{Username: as, Extra: map[string]authenticationapi.ExtraValue{insteadOf: {string(carried)}}}, err
}

// reviewAccess has a SubjectAccessReview answered.
func (v *reviewer) reviewAccess(r *http.Request, body []byte, sent *authorizationapi.SubjectAccessReview) (*http.Response, error) {
	t := v.server.target()
	t.Review, t.User, t.Groups = faults.SubjectAccessReview, sent.Spec.User, sent.Spec.Groups
	if err := v.unanswered(r, &t); err != nil {
		return nil, err
	}
	var response *http.Response
	var err error
	if carried := sent.Spec.Extra[insteadOf]; len(carried) > 0 {
		response, err = v.reviewBoth(r, sent, carried[0])
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
		return answered(response, answer)
	}
	subject, err := json.Marshal(sent.Spec)
	if err != nil {
		return nil, err
	}
	if v.strike(r.Context(), &t, faults.ReviewerWrong) != nil || v.isRevoked(r.Context(), &t, sha256.Sum256(subject)) {
		answer.Status = authorizationapi.SubjectAccessReviewStatus{}
	}
	return answered(response, answer)
}

// reviewBoth asks about the user whom a fault has named and about the one in whose place it was: the answer is that about
// the first of them who may not, or else about the last.
func (v *reviewer) reviewBoth(r *http.Request, sent *authorizationapi.SubjectAccessReview, carried string) (*http.Response, error) {
	var owner authenticationapi.UserInfo
	if err := json.Unmarshal([]byte(carried), &owner); err != nil {
		return nil, err
	}
	named := sent.DeepCopy()
	delete(named.Spec.Extra, insteadOf)
	response, err := v.sendReview(r, named)
	if err != nil || response.StatusCode >= http.StatusMultipleChoices {
		return response, err
	}
	answer := &authorizationapi.SubjectAccessReview{}
	if err := readAnswer(response, answer); err != nil {
		return nil, err
	}
	if !answer.Status.Allowed {
		return answered(response, answer)
	}
	rightful := sent.DeepCopy()
	rightful.Spec.User, rightful.Spec.UID, rightful.Spec.Groups = owner.Username, owner.UID, owner.Groups
	if !slices.Contains(owner.Groups, user.AllAuthenticated) { // which the chain has added to the other's
		rightful.Spec.Groups = append(rightful.Spec.Groups, user.AllAuthenticated)
	}
	rightful.Spec.Extra = map[string]authorizationapi.ExtraValue{}
	for key, value := range owner.Extra {
		rightful.Spec.Extra[key] = authorizationapi.ExtraValue(value)
	}
	return v.sendReview(r, rightful)
}

// readAnswer reads the body of a response, and closes it.
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

// answered is response with another body.
func answered(response *http.Response, answer apiruntime.Object) (*http.Response, error) {
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
