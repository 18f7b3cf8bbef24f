// Package faults defines the deliberate failures that can be injected into a node. A [Fault] is one failure with its
// scope: which connections, requests, reviews or containers it applies to. A [Set] holds the active faults of a
// process. Package faulty injects them.
//
// Faults are not random: in each run, a fault applies to the same ones of its matching requests. No kind of fault
// grants access: a request that a reviewer denies stays denied, whichever faults are active.
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
	// Name identifies an active fault. If it is empty, a name is made from the kind and a number, as in status-1.
	Name string `json:"name,omitempty"`
	// Kind is the name of one of [Kinds].
	Kind string `json:"kind"`

	// Certificate is a kind of serving certificate of package testcerts, as in server-expired.
	Certificate string `json:"certificate,omitempty"`
	// Delay is how long to wait.
	Delay metav1.Duration `json:"delay,omitzero"`
	// Rate is in bytes per second.
	Rate int64 `json:"rate,omitempty"`
	// After is the number of bytes of a response, or of a stream to the client, that are sent before the connection
	// is cut.
	After int64 `json:"after,omitempty"`
	// Status is an HTTP status code from 400 to 599. Body is the response body. If Body is empty, the response body
	// is the standard text of the status code.
	Status int    `json:"status,omitempty"`
	Body   string `json:"body,omitempty"`
	// Answer is the wrong answer of a reviewer: [Deny] or [OtherUser]. Empty means Deny. As is the name of the user
	// that OtherUser returns.
	Answer string `json:"answer,omitempty"`
	As     string `json:"as,omitempty"`
	// Skew is how far the node's clock is ahead; negative: behind.
	Skew metav1.Duration `json:"skew,omitzero"`
	// Memory is the working set of each container that the fault applies to.
	Memory resource.Quantity `json:"memory,omitzero"`

	Scope
}

// Scope selects the connections, requests, reviews or containers that a fault applies to. An empty field matches
// everything. All fields but Method and Review are patterns of package path (*, ?, [a-z]). In Route a * does not
// match a slash; in the other fields it does.
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
	// Namespace, Pod and Container match the names in the path of a request, or the names of a container whose usage
	// is measured.
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	Container string `json:"container,omitempty"`
	// Review is the kind of review, [TokenReview] or [SubjectAccessReview]; if empty, both.
	Review string `json:"review,omitempty"`

	// Count is how often the fault applies; 0: always.
	Count int64 `json:"count,omitempty"`
	// Share is the fraction of matches that the fault applies to, from 0 to 1; 0 means all. Seed and the number of a
	// match determine whether the fault applies to it, so each run gives the same result.
	Share float64 `json:"share,omitempty"`
	Seed  int64   `json:"seed,omitempty"`
}

// The wrong answers of a reviewer.
const (
	// Deny denies every review.
	Deny = "deny"
	// OtherUser authenticates a token as another user. A request is then allowed only if both the true and the other
	// user are allowed.
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
