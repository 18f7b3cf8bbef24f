package faults

import (
	"fmt"
	"slices"
	"strings"
)

// These are the names of the kinds of fault.
const (
	ServingCertificate  = "serving-certificate"
	ConnectionRefused   = "connection-refused"
	ConnectionReset     = "connection-reset"
	ConnectionBlackHole = "connection-black-hole"
	SlowHandshake       = "slow-handshake"
	SlowFirstByte       = "slow-first-byte"
	SlowBody            = "slow-body"
	Cut                 = "cut"
	Status              = "status"
	ReviewerDown        = "reviewer-down"
	ReviewerSlow        = "reviewer-slow"
	ReviewerError       = "reviewer-error"
	ReviewerWrong       = "reviewer-wrong"
	ReviewerRevoking    = "reviewer-revoking"
	CachesFlushed       = "caches-flushed"
	ClockSkew           = "clock-skew"
	MemoryHeavy         = "memory-heavy"
)

// Kind describes one kind of fault, for example slow-body.
type Kind struct {
	Name string `json:"name"`
	// Explains describes the real failure that this kind of fault imitates, and the effect of the fault.
	Explains string `json:"explains"`
	// Requires lists the JSON names of the fields of a [Fault] that must be set, and Allows the names of the fields
	// that may be set. All kinds also allow name and node.
	Requires []string `json:"requires,omitempty"`
	Allows   []string `json:"allows,omitempty"`
}

// The variable "request" lists the scope fields for faults that affect requests, and the variable "reviews" lists the
// scope fields for faults that affect reviews. The fields in "some" limit a fault to some of its matches.
var (
	some    = []string{"count", "share", "seed"}
	request = append([]string{"route", "method", "user", "group", "namespace", "pod", "container"}, some...)
	reviews = append([]string{"review", "user", "group"}, some...)
)

var kinds = []Kind{
	{Name: ServingCertificate, Requires: []string{"certificate"}, Allows: some,
		Explains: "the kubelet has a serving certificate that clients should reject: handshakes present one of the " +
			"kind `certificate`, for the node's name and the dialled address"},
	{Name: ConnectionRefused,
		Explains: "the kubelet is not running: neither the secure nor the read-only port is open"},
	{Name: ConnectionReset, Allows: some,
		Explains: "a firewall or a load balancer rejects the client: a connection to the secure port is reset as " +
			"soon as it is made"},
	{Name: ConnectionBlackHole, Allows: some,
		Explains: "the kubelet hangs, or packets are lost: a connection to the secure port is accepted and " +
			"never answered"},
	{Name: SlowHandshake, Requires: []string{"delay"}, Allows: some,
		Explains: "the node has no CPU left, or the network is slow: the TLS handshake begins after `delay`"},
	{Name: SlowFirstByte, Requires: []string{"delay"}, Allows: request,
		Explains: "the container runtime is slow: the answer to an authorized request begins after `delay`"},
	{Name: SlowBody, Requires: []string{"rate"}, Allows: request,
		Explains: "the network or the disk is slow: answers, logs and streams to the client come at `rate` bytes " +
			"per second"},
	{Name: Cut, Allows: append([]string{"after"}, request...),
		Explains: "the node or its network fails in the middle: an answer, a log or a stream ends after `after` " +
			"bytes, without a proper end"},
	{Name: Status, Requires: []string{"status"}, Allows: append([]string{"body"}, request...),
		Explains: "the kubelet or its runtime fails: an authorized request is answered with `status` and `body`"},
	{Name: ReviewerDown, Allows: reviews,
		Explains: "the apiserver that reviews tokens and access is unreachable: connections to it are refused"},
	{Name: ReviewerSlow, Requires: []string{"delay"}, Allows: reviews,
		Explains: "the apiserver that reviews tokens and access is overloaded: a review is sent after `delay`"},
	{Name: ReviewerError, Allows: append([]string{"status", "body"}, reviews...),
		Explains: "the apiserver that reviews tokens and access fails, or forbids the kubelet to create reviews: a " +
			"review is answered with `status` and `body`, or, without `status`, with a page that is not a review"},
	{Name: ReviewerWrong, Allows: append([]string{"answer", "as"}, reviews...),
		Explains: "the apiserver has the wrong tokens or the wrong RBAC: it denies everything (`answer: deny`), or " +
			"authenticates a token as the user `as` (`answer: other-user`)"},
	{Name: ReviewerRevoking, Allows: reviews,
		Explains: "a token or a right is revoked: a review that was allowed once is denied from then on; cached " +
			"answers still hold"},
	{Name: CachesFlushed,
		Explains: "the kubelet has just been started: it caches nothing about certificates, tokens and access, and " +
			"each request is reviewed anew"},
	{Name: ClockSkew, Requires: []string{"skew"},
		Explains: "the node's clock is wrong by `skew`: it determines the validity of client certificates, the " +
			"Date header, and the times of logs and measurements"},
	{Name: MemoryHeavy, Requires: []string{"memory"}, Allows: []string{"namespace", "pod", "container"},
		Explains: "containers use too much memory: /stats/summary, /metrics/resource and /metrics/cadvisor report " +
			"`memory` for each, or its limit if that is lower"},
}

// Kinds returns all kinds of fault: first the kinds that affect connections, then responses, reviews, and the whole
// node.
func Kinds() []Kind { return slices.Clone(kinds) }

// kindNamed returns the kind of fault with the given name. For an unknown name, the error lists the names of all kinds.
func kindNamed(name string) (Kind, error) {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		if k.Name == name {
			return k, nil
		}
		names[i] = k.Name
	}
	return Kind{}, fmt.Errorf("%q is not a kind of fault; the kinds are %s", name, strings.Join(names, ", "))
}
