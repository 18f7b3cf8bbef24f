package reviewapi

import (
	"slices"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
)

// Record is a received review with its answer. The server records it before it sends the answer, so a client that
// has received the answer finds the Record. Callers must not change the values that the fields point to.
type Record struct {
	// Number is the review's sequence number, counted from 1 for both kinds together.
	Number uint64
	Time   time.Time
	// Kind is TokenReview or SubjectAccessReview.
	Kind string
	// Caller is the user name of the client that sent the review.
	Caller string

	// Token is the fingerprint of a TokenReview's token, and Audiences its audiences.
	Token     string
	Audiences []string
	// Access is the spec of a SubjectAccessReview.
	Access *authorizationv1.SubjectAccessReviewSpec

	// Fault describes the fault that was injected into the review; see [Fault.String].
	Fault string
	// Code is the HTTP status of the answer; 0 if a fault prevented it. Message is the message of an error.
	Code    int
	Message string
	// TokenStatus or AccessStatus is the status in the answer, depending on the kind of review. Both are nil if
	// there is no answer.
	TokenStatus  *authenticationv1.TokenReviewStatus
	AccessStatus *authorizationv1.SubjectAccessReviewStatus
	// Grant is the RBAC grant that allowed the access; see [Verdict].
	Grant *Grant
}

// Counts are numbers of requests since the start.
type Counts struct {
	TokenReviews         uint64
	SubjectAccessReviews uint64
	// Unauthorized counts requests of callers that were not authenticated.
	Unauthorized uint64
}

// records keeps the newest reviews in a ring.
type records struct {
	mu     sync.Mutex
	most   int
	ring   []Record
	oldest int
	counts Counts
}

func newRecords(most int) *records { return &records{most: most} }

func (r *records) add(record Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if record.Kind == kindTokenReview {
		r.counts.TokenReviews++
	} else {
		r.counts.SubjectAccessReviews++
	}
	record.Number = r.counts.TokenReviews + r.counts.SubjectAccessReviews
	switch {
	case len(r.ring) < r.most:
		r.ring = append(r.ring, record)
	case r.most > 0:
		r.ring[r.oldest] = record
		r.oldest = (r.oldest + 1) % r.most
	}
}

func (r *records) unauthorized() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Unauthorized++
}

// Reviews returns the newest reviews, oldest first: at most Options.Records.
func (s *Server) Reviews() []Record {
	r := s.records
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Concat(r.ring[r.oldest:], r.ring[:r.oldest])
}

// Counts returns the numbers of requests since the start.
func (s *Server) Counts() Counts {
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	return s.records.counts
}
