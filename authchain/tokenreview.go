package authchain

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
)

// tokenReviewer sends TokenReviews, and remembers the last review of each token.
//
// The cache calls the tokenReviewer if it has no result for a token. If several requests need a result for the same
// token at the same time, the cache makes one call for all of them, with its own context. This context contains no
// Decision, so the tokenReviewer cannot record in the Decisions that their result came from a review. Instead, each
// request calls reviewedSince when it has its result. If a review of the token has ended since the request began to use
// the cache, the result came from that review. Otherwise, the result came from the cache.
type tokenReviewer struct {
	sender authenticator.Token
	// The field "last" has the last review of each token, indexed by the token's hash. Two tokens can have the same
	// index, and the later review then replaces the earlier one. If both reviews end at the same moment, a Decision may
	// record a result as cached although it came from a review.
	last slots[tokenReview]
}

// tokenReview describes a TokenReview that the chain sends. It is in the context of the HTTP request for the review.
type tokenReview struct {
	token [sha256.Size]byte
	ended time.Time
	// answered is true if the review API answered with a 2xx status.
	answered bool
	// affectedBy has the names of faults that are added to the Decisions of all requests that wait for the review.
	affectedBy []string
}

type tokenReviewKey struct{}

// tokenReviewFrom returns the TokenReview that ctx belongs to, or nil.
func tokenReviewFrom(ctx context.Context) *tokenReview {
	review, _ := ctx.Value(tokenReviewKey{}).(*tokenReview)
	return review
}

// AuthenticateToken sends a TokenReview. If a TokenReview came back with an error about the token, the returned error
// is a tokenError.
func (t *tokenReviewer) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	review := &tokenReview{token: sha256.Sum256([]byte(token))}
	response, ok, err := t.sender.AuthenticateToken(
		context.WithValue(withoutLog(ctx), tokenReviewKey{}, review), token)
	review.ended = time.Now()
	t.slot(review.token).Store(review)
	if ok {
		response.User = newReviewedUser(response.User, token)
	}
	if review.answered && isAboutToken(err) {
		err = &tokenError{err}
	}
	return response, ok, err
}

// isAboutToken reports whether the error of a review with a 2xx status is the text in the field status.error of the
// TokenReview. Otherwise, the response was not a TokenReview, and the error is about its content. (plugin/pkg/
// authenticator/token/webhook makes an error from status.error with errors.New; client-go: Result.Into)
func isAboutToken(err error) bool {
	if reflect.TypeOf(err) != reflect.TypeOf(errors.New("")) || errors.Is(err, io.ErrUnexpectedEOF) {
		return false
	}
	text := err.Error()
	return !slices.ContainsFunc(decodeErrors, func(prefix string) bool { return strings.HasPrefix(text, prefix) })
}

// decodeErrors lists the beginnings of errors about a response that cannot be decoded. It does not list errors that
// have a type of their own. (client-go: Result.Into; apimachinery: pkg/runtime/serializer/json and protobuf; generated
// protobuf code)
var decodeErrors = []string{
	"serializer for ",
	"0-length response with status code: ",
	"couldn't get version/kind; ",
	"unexpected GroupVersion string: ",
	"provided data does not appear to be a protobuf message",
	"proto: ",
}

func (t *tokenReviewer) slot(sum [sha256.Size]byte) *atomic.Pointer[tokenReview] {
	return t.last.at(uint64(binary.LittleEndian.Uint16(sum[:])))
}

// reviewedSince returns the last review of the token with the given hash, or nil if that review ended before the time
// "start" or is not known.
func (t *tokenReviewer) reviewedSince(sum [sha256.Size]byte, start time.Time) *tokenReview {
	if last := t.slot(sum).Load(); last != nil && last.token == sum && !last.ended.Before(start) {
		return last
	}
	return nil
}

// tokenError is an error that a TokenReview reports about a token.
type tokenError struct{ error }

// failedReview is the error of a token that was not reviewed. It has the text of the error that it wraps.
type failedReview struct{ error }

func (f *failedReview) Unwrap() error { return f.error }

// slots is a fixed number of pointers, indexed by a hash. The pointers are allocated at their first use, because in a
// process with many nodes most nodes never use them.
type slots[T any] struct {
	size int // the number of pointers; 0 means 1024
	once sync.Once
	all  []atomic.Pointer[T]
}

func (s *slots[T]) at(hash uint64) *atomic.Pointer[T] {
	s.once.Do(func() { s.all = make([]atomic.Pointer[T], cmp.Or(s.size, 1024)) })
	return &s.all[hash%uint64(len(s.all))]
}
