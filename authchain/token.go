package authchain

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/request/websocket"
	"k8s.io/apiserver/pkg/authentication/token/cache"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/webhook"
	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
)

// newTokenSteps read a bearer token from the Authorization header and from the WebSocket subprotocol, and share one
// cache of reviews. Errors are never cached, a plain "no" is. (delegating.go)
func newTokenSteps(client authenticationv1.AuthenticationV1Interface, ttl time.Duration) (bearer, protocol authenticator.Request, err error) {
	authenticatorfactory.RegisterMetrics()
	ask, err := webhook.NewFromInterface(client, nil, retryBackoff, 0, webhook.AuthenticatorMetrics{
		RecordRequestTotal: func(ctx context.Context, code string) {
			if review := reviewOf(ctx); review != nil {
				review.answered = strings.HasPrefix(code, "2")
			}
			authenticatorfactory.RecordRequestTotal(ctx, code)
		},
		RecordRequestLatency: authenticatorfactory.RecordRequestLatency,
	})
	if err != nil {
		return nil, nil, err
	}
	reviews := &reviews{ask: ask}
	cached := &fingerprinted{reviews: reviews, cache: sync.OnceValue(func() authenticator.Token {
		return cache.New(reviews, false, ttl, ttl) // of which most of many nodes are in no need
	})}

	bearer = step{
		method:        MethodBearerToken,
		authenticator: bearertoken.New(cached),
		explain: func(r *http.Request, s *Step) {
			explainToken(s, "no bearer token in the Authorization header")
		},
	}
	protocol = step{
		method:        MethodWebSocketToken,
		authenticator: websocket.NewProtocolAuthenticator(cached),
		explain: func(r *http.Request, s *Step) {
			explainToken(s, "no bearer token among the WebSocket subprotocols")
		},
	}
	return bearer, protocol, nil
}

func explainToken(s *Step, absent string) {
	var broken *brokenReview
	switch {
	case s.Outcome == OutcomeAuthenticated:
	case s.Outcome == OutcomeSkipped:
		s.Reason = absent
	case errors.As(s.err, &broken):
		s.Outcome = OutcomeError
		s.Reason = fmt.Sprintf("the TokenReview of token %s failed: %v", s.Token, s.err)
	case s.Token == "":
		s.Reason = s.err.Error()
	default:
		s.Reason = fmt.Sprintf("the TokenReview of token %s says: %v", s.Token, s.err)
	}
}

// Fingerprint is how a token is shown: the first 8 hexadecimal digits of its SHA-256. It tells two tokens apart and
// gives neither away.
func Fingerprint(token string) string {
	return fingerprint(sha256.Sum256([]byte(token)))
}

func fingerprint(sum [sha256.Size]byte) string { return hex.EncodeToString(sum[:4]) }

// reviews asks for TokenReviews and remembers which tokens it was last asked about. The cache in front of it looks
// tokens up on a context of its own and for several requests at once, so that a request cannot be told directly whether
// its answer was asked for or remembered; it finds out by looking here afterwards.
type reviews struct {
	ask authenticator.Token
	// last has one place for all tokens whose hash starts alike: two that meet there in the same instant may show
	// an asked answer as cached, and nothing else goes wrong.
	last places[asked]
}

// places are where something is remembered, each for all that is numbered alike. They are made when the first is asked for:
// most of many nodes never are.
type places[T any] struct {
	once sync.Once
	all  *[1024]atomic.Pointer[T]
}

func (p *places[T]) at(number uint64) *atomic.Pointer[T] {
	p.once.Do(func() { p.all = new([1024]atomic.Pointer[T]) })
	return &p.all[number%uint64(len(p.all))]
}

type asked struct {
	token [sha256.Size]byte
	at    time.Time
	// faults struck the review.
	faults []string
}

// tokenReview is one that is under way, whose context carries it.
type tokenReview struct {
	answered bool
	faults   []string
}

type reviewKey struct{}

func reviewOf(ctx context.Context) *tokenReview {
	review, _ := ctx.Value(reviewKey{}).(*tokenReview)
	return review
}

// AuthenticateToken asks. An error is a brokenReview where the reviewer did not answer at all; otherwise it is what the
// reviewer said of the token.
func (r *reviews) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	var review tokenReview
	response, ok, err := r.ask.AuthenticateToken(context.WithValue(ctx, reviewKey{}, &review), token)
	sum := sha256.Sum256([]byte(token))
	r.slot(sum).Store(&asked{token: sum, at: time.Now(), faults: review.faults})
	if err != nil && !review.answered {
		err = &brokenReview{err}
	}
	return response, ok, err
}

func (r *reviews) slot(sum [sha256.Size]byte) *atomic.Pointer[asked] {
	return r.last.at(uint64(binary.LittleEndian.Uint16(sum[:])))
}

// askedSince is the review of a token that ended after start; nil where there was none.
func (r *reviews) askedSince(sum [sha256.Size]byte, start time.Time) *asked {
	if last := r.slot(sum).Load(); last != nil && last.token == sum && !last.at.Before(start) {
		return last
	}
	return nil
}

// brokenReview is a TokenReview that nobody answered. It reads as the error that it wraps.
type brokenReview struct{ error }

func (b *brokenReview) Unwrap() error { return b.error }

// fingerprinted tells the step at work which token it read, and whether the cache knew it.
type fingerprinted struct {
	reviews *reviews
	cache   func() authenticator.Token
}

func (f *fingerprinted) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	decision := FromContext(ctx)
	if decision == nil {
		return f.cache().AuthenticateToken(ctx, token)
	}
	sum, start := sha256.Sum256([]byte(token)), time.Now()
	response, ok, err := f.cache().AuthenticateToken(ctx, token)
	if s := decision.stepping(); s != nil {
		s.Token = fingerprint(sum)
		asked := f.reviews.askedSince(sum, start)
		s.Cached = err == nil && asked == nil
		if asked != nil {
			decision.AddAffectedBy(asked.faults...)
		}
	}
	if err != nil {
		err = withoutToken(err, token)
	}
	return response, ok, err
}

// withoutToken is err, whose words are whatever the reviewer chose to say, with the token's fingerprint where it said the
// token.
func withoutToken(err error, token string) error {
	quoted := strconv.Quote(token)
	text := strings.NewReplacer(token, Fingerprint(token), quoted[1:len(quoted)-1], Fingerprint(token)).Replace(err.Error())
	if text == err.Error() {
		return err
	}
	return &scrubbed{text, err}
}

// scrubbed is an error in other words.
type scrubbed struct {
	text string
	err  error
}

func (s *scrubbed) Error() string { return s.text }
func (s *scrubbed) Unwrap() error { return s.err }

// unreadToken stands where the token steps would: it never has an opinion, but says of a request that came with a token
// that nobody read it.
type unreadToken struct{}

func (unreadToken) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	decision := FromContext(r.Context())
	if decision == nil {
		return nil, false, nil
	}
	if scheme, token, _ := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " "); token != "" && strings.EqualFold(scheme, "bearer") {
		s := decision.step(MethodBearerToken)
		s.Outcome = OutcomeSkipped
		s.Reason = "the bearer token was not read: authentication.webhook.enabled is false"
	}
	return nil, false, nil
}
