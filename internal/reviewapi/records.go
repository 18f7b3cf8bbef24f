package reviewapi

import (
	"slices"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
)

// Record is a received review with its answer. The server records a review before it sends the answer, so a client that
// has received an answer can rely on the Record. Callers must not change the values to which the fields point.
type Record struct {
	// Number is the review's sequence number. TokenReviews and SubjectAccessReviews are counted together, from 1.
	Number uint64
	Time   time.Time
	// Kind is the kind of the review, TokenReview or SubjectAccessReview.
	Kind string

	// Token is the fingerprint of the token in a TokenReview. Audiences are the audiences in the spec of the
	// TokenReview.
	Token     string
	Audiences []string
	// Access is the spec of a SubjectAccessReview.
	Access *authorizationv1.SubjectAccessReviewSpec

	// Code is the HTTP status of the answer. Message is the error message, if the answer is an error.
	Code    int
	Message string
	// TokenStatus is the status in the answer to a TokenReview, and AccessStatus the status in the answer to a
	// SubjectAccessReview. Both are nil if the answer is an error.
	TokenStatus  *authenticationv1.TokenReviewStatus
	AccessStatus *authorizationv1.SubjectAccessReviewStatus
}

// records stores the newest reviews with their answers.
type records struct {
	mu    sync.Mutex
	limit int      // number of records to keep
	all   []Record // grows to twice the limit before old records are removed
	count uint64
}

func (r *records) add(record Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	record.Number = r.count
	if len(r.all) == 2*r.limit {
		r.all = slices.Delete(r.all, 0, r.limit)
	}
	r.all = append(r.all, record)
}

// Reviews returns up to Options.Records reviews: the newest ones, in the order in which they were received.
func (s *Server) Reviews() []Record {
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	all := s.records.all
	return slices.Clone(all[max(0, len(all)-s.records.limit):])
}
