package reviewapi

import (
	"slices"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
)

// Record is a received review with its answer. It is recorded before the answer is sent, so that a client that has
// received the answer finds it. Callers must not change what it points to.
type Record struct {
	// Number counts reviews of both kinds, from 1.
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

	// Fault describes the fault that the review met; see [Fault.String].
	Fault string
	// Code is the HTTP status of the answer; 0 if a fault prevented it. Message is the message of an error.
	Code    int
	Message string
	// The status in the answer, by the kind of review; nil without an answer.
	TokenStatus  *authenticationv1.TokenReviewStatus
	AccessStatus *authorizationv1.SubjectAccessReviewStatus
	// Grant allowed the access; see [Verdict].
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
