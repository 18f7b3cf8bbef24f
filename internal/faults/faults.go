// Package faults has what goes wrong on purpose: a [Fault] is one way for a kubelet to misbehave, with what it strikes,
// and a [Set] has those that are active in a process. What a fault does is done where it happens, in package server;
// here is which there are, whether they make sense, and which of them strikes next.
//
// Nothing is random: of what a fault matches, the same are struck in each run. And nothing that a fault does lets anybody
// in: there is no kind whose purpose is to, and what a reviewer refuses stays refused whatever is active.
package faults

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
)

// Fault is one way to misbehave, with what it strikes. Which fields mean something depends on its kind; see [Kinds].
type Fault struct {
	// Name is a handle, unique among those that are active. Empty: the kind and a number, as in status-1.
	Name string `json:"name,omitempty"`
	// Kind is the name of one of [Kinds].
	Kind string `json:"kind"`

	// Certificate is a kind of serving certificate of package testcerts, as in server-expired.
	Certificate string `json:"certificate,omitempty"`
	// Delay is how long something is waited with.
	Delay metav1.Duration `json:"delay,omitzero"`
	// Rate is in bytes a second.
	Rate int64 `json:"rate,omitempty"`
	// After is how many bytes of an answer, or of a stream to the client, go out before it is cut.
	After int64 `json:"after,omitempty"`
	// Status is an HTTP status code from 400 to 599, Body what is sent with it; empty: the code in words.
	Status int    `json:"status,omitempty"`
	Body   string `json:"body,omitempty"`
	// Answer is what a reviewer says that is wrong: [Deny] or [OtherUser]; empty: Deny. As is who OtherUser names.
	Answer string `json:"answer,omitempty"`
	As     string `json:"as,omitempty"`
	// Skew is how far the node's clock is ahead; negative: behind.
	Skew metav1.Duration `json:"skew,omitzero"`
	// Memory is the working set of each container that is struck.
	Memory resource.Quantity `json:"memory,omitzero"`

	Scope
}

// Scope is what a fault strikes. What is empty does not matter. All but Method and Review are patterns of package path (*, ?,
// [a-z]), of which * stands for anything, but in Route, where it ends at a slash.
type Scope struct {
	// Node is the node's name.
	Node string `json:"node,omitempty"`
	// Route is the path of a request, as in /containerLogs/default/*/*. With /** at its end it is that of all paths below.
	Route  string `json:"route,omitempty"`
	Method string `json:"method,omitempty"`
	// User and Group are those of the client, whom somebody must know: a port that asks nobody has no users.
	User  string `json:"user,omitempty"`
	Group string `json:"group,omitempty"`
	// Namespace, Pod and Container are those that a request's path names, or those that something is told of.
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	Container string `json:"container,omitempty"`
	// Review is the kind of review, [TokenReview] or [SubjectAccessReview]; empty: both.
	Review string `json:"review,omitempty"`

	// Count is how many times it strikes; 0: always.
	Count int64 `json:"count,omitempty"`
	// Share is the part of what it matches that it strikes, from 0 to 1; 0: all. Which ones is drawn from Seed and their
	// running number, and so the same in each run.
	Share float64 `json:"share,omitempty"`
	Seed  int64   `json:"seed,omitempty"`
}

// The wrong answers of a reviewer.
const (
	// Deny says no, whatever the truth is.
	Deny = "deny"
	// OtherUser takes the token for another user's. Whoever has it may do what both may.
	OtherUser = "other-user"
)

// The kinds of review.
const (
	TokenReview         = "TokenReview"
	SubjectAccessReview = "SubjectAccessReview"
)

// Parse reads a fault from JSON. A field that does not exist or stands twice is an error that names it, and so is a fault
// that does not make sense.
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
