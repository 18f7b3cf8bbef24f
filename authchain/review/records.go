package review

import (
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
)

// Record is one review that was received, and its answer. What it points to is shared: do not change it.
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

// records is a ring: the newest reviews push out the oldest.
type records struct {
	mu     sync.Mutex
	ring   []Record
	next   int
	full   bool
	counts Counts
}

func newRecords(size int) *records { return &records{ring: make([]Record, size)} }

func (r *records) add(record Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if record.Kind == kindTokenReview {
		r.counts.TokenReviews++
	} else {
		r.counts.SubjectAccessReviews++
	}
	record.Number = r.counts.TokenReviews + r.counts.SubjectAccessReviews
	if len(r.ring) == 0 {
		return
	}
	r.ring[r.next] = record
	r.next++
	if r.next == len(r.ring) {
		r.next, r.full = 0, true
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
	if !r.full {
		return append([]Record(nil), r.ring[:r.next]...)
	}
	return append(append([]Record(nil), r.ring[r.next:]...), r.ring[:r.next]...)
}

// Counts tells how many reviews there have been since the start.
func (s *Server) Counts() Counts {
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	return s.records.counts
}
