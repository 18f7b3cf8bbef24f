package reviewapi

import (
	"slices"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
)

// Record is one review that was received, and its answer. It is there before the answer goes out, so that whoever has
// been answered finds it. What it points to is shared: do not change it.
type Record struct {
	// Number counts the reviews since the start, of both kinds, from 1.
	Number uint64
	Time   time.Time
	// Kind is TokenReview or SubjectAccessReview.
	Kind string
	// Caller is the name of the user who asked.
	Caller string

	// Token is the fingerprint of the token that was asked about, and Audiences the audiences; both of a TokenReview.
	Token     string
	Audiences []string
	// Access is what a SubjectAccessReview asked.
	Access *authorizationv1.SubjectAccessReviewSpec

	// Fault names the fault that was committed instead of an answer, or before it. Empty: none.
	Fault string
	// Code is the HTTP status of the answer; 0 where a fault left none. Message is that of an answer that failed.
	Code    int
	Message string
	// The status that was answered, by the kind of review; nil where there was none.
	TokenStatus  *authenticationv1.TokenReviewStatus
	AccessStatus *authorizationv1.SubjectAccessReviewStatus
	// Grant is what allowed the access, where a rule did.
	Grant *Grant
}

// Counts are the reviews since the start.
type Counts struct {
	TokenReviews         uint64
	SubjectAccessReviews uint64
	// Unauthorized are the requests whose sender was not authenticated and so could ask nothing.
	Unauthorized uint64
}

// records grow to a ring: then the newest reviews push out the oldest.
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

// Reviews gives the newest reviews, oldest first: as many as Options.Records.
func (s *Server) Reviews() []Record {
	r := s.records
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Concat(r.ring[r.oldest:], r.ring[:r.oldest])
}

// Counts tells how many reviews there have been since the start.
func (s *Server) Counts() Counts {
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	return s.records.counts
}
