// Package faults has the deliberate failures of a node. A [Fault] is one failure with its scope: which connections,
// requests, reviews or containers it applies to. A [Set] holds the active faults of a process. Package faulty injects
// them.
//
// Nothing is random. A fault applies to the same ones of what it matches in each run. No kind of fault grants access:
// what a reviewer denies stays denied whatever is active.
package faults

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
)

// Fault is one deliberate failure and its scope. [Kinds] says which fields each kind requires and allows.
type Fault struct {
	// Name identifies an active fault. If empty, it is the kind and a number, as in status-1.
	Name string `json:"name,omitempty"`
	// Kind is the name of one of [Kinds].
	Kind string `json:"kind"`

	// Certificate is a kind of serving certificate of package testcerts, as in server-expired.
	Certificate string `json:"certificate,omitempty"`
	// Delay is how long to wait.
	Delay metav1.Duration `json:"delay,omitzero"`
	// Rate is in bytes per second.
	Rate int64 `json:"rate,omitempty"`
	// After is the number of bytes of an answer, or of a stream to the client, before the cut.
	After int64 `json:"after,omitempty"`
	// Status is an HTTP status code from 400 to 599. Body is sent with it; if empty, the text of the code.
	Status int    `json:"status,omitempty"`
	Body   string `json:"body,omitempty"`
	// Answer is the wrong answer of a reviewer: [Deny] or [OtherUser]; if empty, Deny. As is the user for OtherUser.
	Answer string `json:"answer,omitempty"`
	As     string `json:"as,omitempty"`
	// Skew is how far the node's clock is ahead; negative: behind.
	Skew metav1.Duration `json:"skew,omitzero"`
	// Memory is the working set of each container that the fault applies to.
	Memory resource.Quantity `json:"memory,omitzero"`

	Scope
}

// Scope says what a fault applies to. An empty field matches everything. All fields but Method and Review are
// patterns of package path (*, ?, [a-z]). In Route a * does not match a slash; in the other fields it does.
type Scope struct {
	// Node is the name of the node.
	Node string `json:"node,omitempty"`
	// Route is the path of a request, as in /containerLogs/default/*/*. With /** at the end it matches all paths
	// below.
	Route  string `json:"route,omitempty"`
	Method string `json:"method,omitempty"`
	// User and Group belong to the authenticated client. They match no request on the read-only port.
	User  string `json:"user,omitempty"`
	Group string `json:"group,omitempty"`
	// Namespace, Pod and Container are named by the path of a request, or are those of a measured container.
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	Container string `json:"container,omitempty"`
	// Review is the kind of review, [TokenReview] or [SubjectAccessReview]; if empty, both.
	Review string `json:"review,omitempty"`

	// Count is how often the fault applies; 0: always.
	Count int64 `json:"count,omitempty"`
	// Share is the part of the matches that the fault applies to, from 0 to 1; 0: all. Seed and the number of the
	// match choose which ones, so they are the same in each run.
	Share float64 `json:"share,omitempty"`
	Seed  int64   `json:"seed,omitempty"`
}

// The wrong answers of a reviewer.
const (
	// Deny denies every review.
	Deny = "deny"
	// OtherUser authenticates a token as another user. The client is then allowed only what both users are allowed.
	OtherUser = "other-user"
)

// The kinds of review.
const (
	TokenReview         = "TokenReview"
	SubjectAccessReview = "SubjectAccessReview"
)

// Parse reads a fault from JSON and validates it. An unknown or duplicate field is an error that names the field.
func Parse(data []byte) (Fault, error) {
	var f Fault
	strict, err := kjson.UnmarshalStrict(data, &f)
	if err != nil {
		return Fault{}, err
	}
	if len(strict) > 0 {
		return Fault{}, fmt.Errorf("%w; correct the spelling or remove it", errors.Join(strict...))
	}
	return f, f.Validate()
}
