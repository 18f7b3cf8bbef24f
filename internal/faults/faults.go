// Package faults defines the deliberate failures that can be injected into a node. A [Fault] is one failure with its
// scope: which connections, requests, reviews or containers it applies to. A [Set] holds the active faults of a
// process. Package faulty injects them.
//
// Faults are not random. A fault that applies to a share of the requests selects the same requests in each run. A
// request that is denied without faults is also denied with faults.
package faults

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
)

// Fault is one deliberate failure and its scope. [Kinds] returns which fields each kind of fault requires and allows.
type Fault struct {
	// Name identifies an active fault. If it is empty, [Set.Add] generates a name from the kind and a number, for
	// example status-1.
	Name string `json:"name,omitempty"`
	// Kind is the name of a kind of fault; see [Kinds].
	Kind string `json:"kind"`

	// Certificate is the name of a kind of serving certificate in package testcerts, for example server-expired.
	Certificate string `json:"certificate,omitempty"`
	// Delay is how long a fault delays a handshake, a response or a review.
	Delay metav1.Duration `json:"delay,omitzero"`
	// Rate is the speed of a slow response, in bytes per second.
	Rate int64 `json:"rate,omitempty"`
	// After is how many bytes of a response, or of a stream to the client, are sent before the connection is cut.
	After int64 `json:"after,omitempty"`
	// Status is an HTTP status code from 400 to 599. Body is the response body. If Body is empty, the standard text of
	// the status code is sent.
	Status int    `json:"status,omitempty"`
	Body   string `json:"body,omitempty"`
	// Answer is the wrong answer to a review: [Deny] (the default) or [OtherUser]. With OtherUser, the field "As" is
	// the name of the other user.
	Answer string `json:"answer,omitempty"`
	As     string `json:"as,omitempty"`
	// Skew is how far the node's clock is ahead of the true time. It is negative if the clock is behind.
	Skew metav1.Duration `json:"skew,omitzero"`
	// Memory is the working set that is reported for each container that the fault applies to.
	Memory resource.Quantity `json:"memory,omitzero"`

	Scope
}

// Scope selects the connections, requests, reviews or containers that a fault applies to. An empty field matches
// everything. Node, Route, User, Group, Namespace, Pod and Container are patterns as for [path.Match] (*, ?, [a-z]). A
// * does not match slashes in Route, but does in the other patterns.
type Scope struct {
	// Node matches the name of the node.
	Node string `json:"node,omitempty"`
	// Route matches the path of a request, as in /containerLogs/default/*/*. A route that ends in /** matches the path
	// before /** and all paths below it.
	Route  string `json:"route,omitempty"`
	Method string `json:"method,omitempty"`
	// User and Group match the authenticated user and one of its groups. If one of them is set, the fault applies to no
	// request on the read-only port, because that port does not authenticate.
	User  string `json:"user,omitempty"`
	Group string `json:"group,omitempty"`
	// Namespace, Pod and Container match the names in the path of a request. For a fault of resource usage, they match
	// the container whose usage is measured. Pod also matches a static pod's name without the ending "-" and the name
	// of the node, because the Scenario file has the name without it.
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	Container string `json:"container,omitempty"`
	// Review matches the kind of a review, [TokenReview] or [SubjectAccessReview].
	Review string `json:"review,omitempty"`

	// Count is the maximum number of times that the fault is applied. 0 means that there is no limit.
	Count int64 `json:"count,omitempty"`
	// Share is the fraction of the matches that the fault applies to, from 0 to 1. 0 means all. Whether the fault
	// applies to a match depends only on Seed and on how many matches there were before, so it is the same in each run.
	Share float64 `json:"share,omitempty"`
	Seed  int64   `json:"seed,omitempty"`
}

// Deny and OtherUser are the values of Fault.Answer. Deny answers that a token is invalid, or that access is denied.
// OtherUser authenticates a token as another user. A request is then allowed only if both the token's true user and the
// other user are allowed to make it.
const (
	Deny      = "deny"
	OtherUser = "other-user"
)

// TokenReview and SubjectAccessReview are the values of Scope.Review.
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
		return Fault{}, fmt.Errorf("%w; correct the spelling or remove the field", errors.Join(strict...))
	}
	return f, f.Validate()
}
